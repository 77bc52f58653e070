// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Empty sections make no map. */
#include "bpfreplay.h"

asm(".section .bss,\"aw\",@nobits\n"
    ".section .data,\"aw\",@progbits\n"
    ".section .rodata,\"a\",@progbits\n"
    ".text\n");

SEC("socket")
int run(struct __sk_buff *skb)
{
	return 11;
}

LICENSE;
