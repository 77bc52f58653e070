// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A .bss and nothing else. */
#include "bpfreplay.h"

volatile u64 table[16];

SEC("socket")
int run(struct __sk_buff *skb)
{
	table[3] += 5;
	table[skb->len & 15] = 1;
	return table[3];
}

LICENSE;
