// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// flags: -mcpu=v4
/* Instructions of -mcpu=v4 (6.6): signed loads, moves, division, byte swaps. */
#include "bpfreplay.h"

volatile signed char byte = -3;
volatile int word = -100;
volatile short half = -7;
volatile int by = 7;

SEC("socket")
int run(struct __sk_buff *skb)
{
	long n = byte;

	n += half;
	n += word / by;
	n += word % by;
	return n + (__builtin_bswap16(skb->len) >> 8);
}

LICENSE;
