// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Hash maps: preallocated and not, scalar and struct keys, all filled by the program. */
#include "bpfreplay.h"

struct flow {
	u32 saddr;
	u32 daddr;
	u16 sport;
	u16 dport;
	u8 proto;
	u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, struct flow);
	__type(value, u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1000);
	__type(key, u64);
	__type(value, u32);
} sparse SEC(".maps");

SEC("socket")
int count(struct __sk_buff *skb)
{
	struct flow key = { .saddr = 1, .daddr = 2, .sport = 3, .dport = 4, .proto = 6 };
	u64 one = 1, *seen = bpf_map_lookup_elem(&flows, &key);
	u64 len = skb->len;
	u32 value = 7;

	bpf_map_update_elem(&sparse, &len, &value, BPF_ANY);
	if (seen) {
		*seen += 1;
		return *seen;
	}
	bpf_map_update_elem(&flows, &key, &one, BPF_NOEXIST);
	return 1;
}

LICENSE;
