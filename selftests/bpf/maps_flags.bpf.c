// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Flags that limit who may read and write, and a hash seeded with zero. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} program_reads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_WRONLY_PROG);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} program_writes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_RDONLY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} user_reads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_ZERO_SEED | BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} unseeded SEC(".maps");

SEC("socket")
int copy(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *from = bpf_map_lookup_elem(&program_reads, &zero);
	u64 value = skb->len;

	bpf_map_update_elem(&program_writes, &zero, &value, BPF_ANY);
	bpf_map_update_elem(&user_reads, &zero, &value, BPF_ANY);
	bpf_map_update_elem(&unseeded, &zero, &value, BPF_ANY);
	return from ? *from + 8 : 0;
}

LICENSE;
