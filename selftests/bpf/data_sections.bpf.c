// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* .rodata, .data and .bss: contents, alignment holes, a string, a struct, a frozen constant. */
#include "bpfreplay.h"

struct config {
	u8 enabled;
	u64 limit;
	char name[5];
};

const volatile struct config config = { .enabled = 1, .limit = 0x0102030405060708ULL, .name = "conf" };
const volatile u8 odd[3] = { 1, 2, 3 };

volatile u64 initialised = 0xdeadbeefcafef00dULL;
volatile char text[] = "written in the object";

volatile u64 runs;
volatile u8 zeroes[11];

SEC("socket")
int run(struct __sk_buff *skb)
{
	if (!config.enabled)
		return 0;
	runs++;
	zeroes[10] = odd[2];
	initialised += config.limit;
	text[0] = 'W';
	return runs + odd[1];
}

LICENSE;
