// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A perf event array whose size is left to the loader: one slot a possible CPU. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("socket")
int emit(struct __sk_buff *skb)
{
	u64 sample = skb->len;

	/* No perf event is open, so the kernel answers -ENOENT. */
	return -bpf_perf_event_output(skb, &events, 0, &sample, sizeof(sample));
}

LICENSE;
