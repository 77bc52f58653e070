// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A hidden function: global in the object, static for the kernel. It is called twice, with numbers. */
#include "bpfreplay.h"

__hidden __attribute__((noinline)) int hidden(u32 n)
{
	return n & 0xff;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	return hidden(skb->len) + hidden(1);
}

LICENSE;
