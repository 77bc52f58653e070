// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A bloom filter: the first user of map_extra, which holds the number of hashes. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__type(value, u32);
} seen SEC(".maps");

/*
 * Not on the stack: the verifier of 7.3 treats a slot that is only passed to peek
 * as dead ("slot poisoned by dead code elimination").
 */
volatile u32 known = 1, unknown = 2;

SEC("socket")
int filter(struct __sk_buff *skb)
{
	bpf_map_push_elem(&seen, (void *)&known, BPF_ANY);
	if (bpf_map_peek_elem(&seen, (void *)&known))
		return 1;
	return bpf_map_peek_elem(&seen, (void *)&unknown) ? 2 : 3;
}

LICENSE;
