// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Sections with names of their own: .data.foo and .rodata.bar become maps too. */
#include "bpfreplay.h"

u32 counter SEC(".data.foo") = 10;
u32 other SEC(".data.another_long_section_name") = 20;
const volatile u32 step SEC(".rodata.bar") = 3;
const volatile u32 plain = 4;

SEC("socket")
int run(struct __sk_buff *skb)
{
	counter += step;
	other += plain;
	return counter + other;
}

LICENSE;
