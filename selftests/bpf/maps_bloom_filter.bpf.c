// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A bloom filter: the first user of map_extra, which holds the number of hashes. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__type(value, u32);
} seen SEC(".maps");

SEC("socket")
int filter(struct __sk_buff *skb)
{
	u32 known = 1, unknown = 2;

	bpf_map_push_elem(&seen, &known, BPF_ANY);
	if (bpf_map_peek_elem(&seen, &known))
		return 1;
	return bpf_map_peek_elem(&seen, &unknown) ? 2 : 3;
}

LICENSE;
