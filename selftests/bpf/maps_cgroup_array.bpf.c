// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map of cgroups, asked from a packet and from a task. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} groups SEC(".maps");

SEC("tc")
int packet(struct __sk_buff *skb)
{
	return bpf_skb_under_cgroup(skb, &groups, 1);
}

SEC("raw_tp/sys_enter")
int task(void *ctx)
{
	/* The slot is empty: -EAGAIN. */
	return -bpf_current_task_under_cgroup(&groups, 0);
}

LICENSE;
