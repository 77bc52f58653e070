// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Functions that the verifier removes: their calls depend on a constant. */
#include "bpfreplay.h"

const volatile u32 enabled;

__noinline_static u32 zebra(struct __sk_buff *skb)
{
	return skb->len * 3;
}

__noinline_static u32 aardvark(struct __sk_buff *skb)
{
	return skb->len * 5;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	if (enabled)
		return zebra(skb) + aardvark(skb);
	return 7;
}

LICENSE;
