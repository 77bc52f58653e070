// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps in an array of maps, in slots that the object fills, and a hash of maps that stays empty. */
#include "bpfreplay.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} left SEC(".maps"), right SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} slots SEC(".maps") = {
	.values = { [1] = &left, [3] = &right },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} later SEC(".maps");

SEC("socket")
int fill(struct __sk_buff *skb)
{
	u32 slot = 1, key = 7;
	u64 value = 70;
	void *map = bpf_map_lookup_elem(&slots, &slot);

	if (!map)
		return 0;
	bpf_map_update_elem(map, &key, &value, BPF_ANY);
	if (bpf_map_lookup_elem(&later, &slot))
		return 1;
	return bpf_map_lookup_elem(&left, &key) && !bpf_map_lookup_elem(&right, &key) ? 2 : 3;
}

LICENSE;
