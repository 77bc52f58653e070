// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A longest-prefix-match trie, which demands BPF_F_NO_PREALLOC. */
#include "bpfreplay.h"

struct prefix {
	u32 len;
	u8 addr[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct prefix);
	__type(value, u32);
} routes SEC(".maps");

SEC("socket")
int route(struct __sk_buff *skb)
{
	struct prefix net = { .len = 8, .addr = { 10 } };
	struct prefix host = { .len = 32, .addr = { 10, 1, 2, 3 } };
	u32 value = 42;

	if (bpf_map_update_elem(&routes, &net, &value, BPF_ANY))
		return 0;

	u32 *hit = bpf_map_lookup_elem(&routes, &host);

	return hit ? *hit : 1;
}

LICENSE;
