// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// flags: -g0
/* No BTF at all: no map definitions then, but data sections and functions still work. */
#include "bpfreplay.h"

volatile int runs;
volatile int base = 40;

__noinline_static int add(int a, int b)
{
	return a + b;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	runs++;
	return add(base, skb->len);
}

LICENSE;
