// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A call tree: depth four, a diamond, functions declared in another order than
 * called, and map, data and callee references inside them.
 */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} hits SEC(".maps");

volatile u64 total;
const volatile u32 weight = 3;

__noinline_static u32 left(struct __sk_buff *skb, u32 n);
__noinline_static u32 right(struct __sk_buff *skb, u32 n);

__noinline_static u32 leaf(u32 n)
{
	u32 key = n & 3;
	u64 *hit = bpf_map_lookup_elem(&hits, &key);

	if (hit)
		*hit += weight;
	total += n;
	return n * weight;
}

__noinline_static u32 bottom(struct __sk_buff *skb, u32 n)
{
	return leaf(n) + leaf(skb->len);
}

__noinline_static u32 right(struct __sk_buff *skb, u32 n)
{
	return bottom(skb, n + 2);
}

__noinline_static u32 left(struct __sk_buff *skb, u32 n)
{
	return bottom(skb, n + 1) + leaf(n);
}

SEC("tc")
int one(struct __sk_buff *skb)
{
	return right(skb, 1) + left(skb, 1);
}

SEC("tc")
int two(struct __sk_buff *skb)
{
	return left(skb, 2);
}

SEC("tc")
int three(struct __sk_buff *skb)
{
	return leaf(skb->len & 1);
}

LICENSE;
