// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A program that the verifier rejects: the pointer may be null. The map is a
 * hash, because newer verifiers know that an array has the key.
 */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} values SEC(".maps");

SEC("socket")
int careless(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *value = bpf_map_lookup_elem(&values, &zero);

	return *value;
}

LICENSE;
