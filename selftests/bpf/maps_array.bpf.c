// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Array maps: sizes given by type, by number, and with every flag that 5.10 has. */
#include "bpfreplay.h"

struct counter {
	u64 packets;
	u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct counter);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__uint(value_size, 20);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, u64);
} mapped SEC(".maps");

SEC("socket")
int count(struct __sk_buff *skb)
{
	u32 key = 1;
	struct counter *c = bpf_map_lookup_elem(&typed, &key);
	u32 *raw = bpf_map_lookup_elem(&sized, &key);

	if (!c || !raw)
		return 0;
	c->packets++;
	c->bytes += skb->len;
	raw[4] = skb->len;
	key = 0;
	u64 *m = bpf_map_lookup_elem(&mapped, &key);

	if (m)
		*m = 0x1122334455667788ULL;
	return c->packets;
}

LICENSE;
