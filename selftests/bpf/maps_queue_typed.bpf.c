// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A queue whose value has a type. The kernel accepts no BTF for a map without
 * keys (EINVAL), so a loader must create it without BTF.
 */
#include "bpfreplay.h"

struct item {
	u32 id;
	u32 weight;
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct item);
} items SEC(".maps");

SEC("socket")
int push(struct __sk_buff *skb)
{
	struct item in = { .id = 3, .weight = 4 }, out = {};

	bpf_map_push_elem(&items, &in, 0);
	return bpf_map_pop_elem(&items, &out) ? 0 : out.id * out.weight;
}

LICENSE;
