// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The older cgroup storage, shared and per-CPU, keyed by cgroup and attach type. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, u64);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, u64);
} percpu SEC(".maps");

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	u64 *s = bpf_get_local_storage(&shared, 0);
	u64 *p = bpf_get_local_storage(&percpu, 0);

	__sync_fetch_and_add(s, 1);
	*p += skb->len;
	return 1;
}

LICENSE;
