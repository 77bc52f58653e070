// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* LRU hash maps: shared list, per-CPU list, per-CPU values. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u32);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(map_flags, BPF_F_NO_COMMON_LRU);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u32);
} uncommon SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u32);
} percpu SEC(".maps");

SEC("socket")
int fill(struct __sk_buff *skb)
{
	u32 key = 9, value = skb->len;

	if (bpf_map_update_elem(&shared, &key, &value, BPF_ANY))
		return 1;
	if (bpf_map_update_elem(&uncommon, &key, &value, BPF_ANY))
		return 2;
	return bpf_map_lookup_elem(&percpu, &key) ? 3 : 4;
}

LICENSE;
