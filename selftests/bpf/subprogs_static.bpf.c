// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Static functions in .text, called several times and from two programs. */
#include "bpfreplay.h"

__noinline_static u32 mix(u32 a, u32 b)
{
	return (a ^ b) * 31;
}

__noinline_static u32 unused_by_first(struct __sk_buff *skb)
{
	return mix(skb->len, 2) + 1;
}

SEC("socket")
int first(struct __sk_buff *skb)
{
	return mix(skb->len, 1) + mix(skb->protocol, 3);
}

SEC("socket")
int second(struct __sk_buff *skb)
{
	return unused_by_first(skb) + mix(7, skb->len);
}

LICENSE;
