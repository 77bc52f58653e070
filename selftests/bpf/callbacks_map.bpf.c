// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A static function whose address is given to bpf_for_each_map_elem (5.13). */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} values SEC(".maps");

struct ctx {
	u64 sum;
	u32 seen;
};

__noinline_static u64 scale(u64 value)
{
	return value * 3;
}

static u64 visit(struct bpf_map *map, u32 *key, u64 *value, struct ctx *ctx)
{
	*value = scale(*key);
	ctx->sum += *value;
	ctx->seen++;
	return 0;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	struct ctx ctx = {};

	bpf_for_each_map_elem(&values, visit, &ctx, 0);
	return ctx.sum * 10 + ctx.seen;
}

LICENSE;
