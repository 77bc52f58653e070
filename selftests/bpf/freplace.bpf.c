// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program that replaces a function of another program. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} calls SEC(".maps");

SEC("freplace/replaceable")
int instead(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *n = bpf_map_lookup_elem(&calls, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 42;
}

char _license[] SEC("license") = "GPL";
