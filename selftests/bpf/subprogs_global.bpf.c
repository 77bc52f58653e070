// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Global functions: the verifier checks each on its own, by its BTF prototype. */
#include "bpfreplay.h"

volatile u32 calls;

__attribute__((noinline)) int sum(int a, int b)
{
	calls++;
	return a + b;
}

__attribute__((noinline)) int with_ctx(struct __sk_buff *skb, int extra)
{
	return sum(skb->len, extra);
}

SEC("tc")
int run(struct __sk_buff *skb)
{
	return sum(1, 2) + with_ctx(skb, 5);
}

LICENSE;
