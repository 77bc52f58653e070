// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* 64 KiB of initialised data and 128 KiB of zeroes, used at both ends. */
#include "bpfreplay.h"

volatile u8 big[64 * 1024] = { [0] = 0xaa, [32768] = 0xbb, [65535] = 0xcc };
volatile u8 zeroes[128 * 1024];

SEC("socket")
int run(struct __sk_buff *skb)
{
	u32 n = skb->len & 0xffff;

	zeroes[0] = big[0];
	zeroes[131071] = big[65535];
	big[n] = 0x55;
	return zeroes[131071] - zeroes[0];
}

LICENSE;
