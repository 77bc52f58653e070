// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The kernel refuses the second map: an array needs 4-byte keys. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 8);
} good SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__uint(value_size, 8);
} wide_key SEC(".maps");

SEC("socket")
int run(struct __sk_buff *skb)
{
	u64 key = 0;

	return bpf_map_lookup_elem(&wide_key, &key) ? 1 : 0;
}

LICENSE;
