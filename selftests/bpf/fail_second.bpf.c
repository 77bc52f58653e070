// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The verifier rejects the second of three programs: the first must be freed, and the third not be verified. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} values SEC(".maps");

volatile u32 data = 4;

SEC("socket")
int good(struct __sk_buff *skb)
{
	return data;
}

SEC("socket")
int outside(struct __sk_buff *skb)
{
	u32 key = 1;
	u64 *value = bpf_map_lookup_elem(&values, &key);

	/* The value has 8 bytes. */
	return value ? value[100] : 0;
}

SEC("socket")
int also_good(struct __sk_buff *skb)
{
	u32 key = 1;

	return bpf_map_delete_elem(&values, &key);
}

LICENSE;
