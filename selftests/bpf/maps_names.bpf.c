// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Names longer than the kernel's 15 characters, of maps and of programs. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} a_map_name_that_is_longer_than_fifteen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} a_map_name_that_is_longer_too SEC(".maps");

SEC("socket")
int a_program_name_that_is_longer_than_fifteen(struct __sk_buff *skb)
{
	u32 key = 1;

	return bpf_map_lookup_elem(&a_map_name_that_is_longer_than_fifteen, &key) ? 1 : 2;
}

SEC("socket")
int a_program_name_that_is_longer_too(struct __sk_buff *skb)
{
	u32 key = 1;

	return bpf_map_lookup_elem(&a_map_name_that_is_longer_too, &key) ? 1 : 2;
}

LICENSE;
