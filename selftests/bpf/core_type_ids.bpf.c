// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: ids of local types that a program returns and writes into a packet and into maps. */
#include "bpfreplay.h"

struct padding_one {
	int a;
};

struct padding_two {
	long b;
};

struct described {
	int c, d;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} by_key SEC(".maps");

struct padding_one one;
struct padding_two two;
u32 seen;

SEC("xdp")
int stamp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 id = bpf_core_type_id_local(struct described), *slot = data;
	u64 wide = id;
	u32 key = 7;

	if (data + 4 > end)
		return XDP_DROP;
	*slot = id;
	seen = id;
	bpf_map_update_elem(&by_key, &key, &wide, BPF_ANY);
	return id;
}

SEC("xdp")
int other(struct xdp_md *ctx)
{
	return one.a + two.b;
}

LICENSE;
