// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A jump table (6.19), whose index is the length of the packet. The compiler
 * of this suite has no computed jumps yet, so they are written by hand. A global
 * function before the program and one with a table of its own show whether
 * tables are counted from the right place.
 */
#include "bpfreplay.h"

__attribute__((noinline)) int before(struct __sk_buff *skb)
{
	return skb->len + 1;
}

__attribute__((naked, noinline)) static u64 table(u64 n)
{
	asm volatile(
		".pushsection .jumptables,\"\",@progbits\n"
		".global inner; inner: .quad in0 - .text, in1 - .text, in2 - .text\n"
		".size inner, 24; .type inner, @object; .popsection\n"
		"if r1 > 2 goto in0\n"
		"r1 <<= 3\n"
		"r2 = inner ll\n"
		"r2 += r1\n"
		"r2 = *(u64 *)(r2 + 0)\n"
		".8byte 0x020d\n" /* gotox r2 */
		"in0: r0 = 10\n"
		"exit\n"
		"in1: r0 = 20\n"
		"exit\n"
		"in2: r0 = 30\n"
		"exit\n"
		::: "memory");
}

SEC("tc")
__attribute__((naked)) int run(struct __sk_buff *skb)
{
	asm volatile(
		".pushsection .jumptables,\"\",@progbits\n"
		".global outer; outer: .quad out0 - tc, out1 - tc\n"
		".size outer, 16; .type outer, @object; .popsection\n"
		"call %[before]\n"
		"r1 = r0\n"
		"r1 &= 1\n"
		"r1 <<= 3\n"
		"r2 = outer ll\n"
		"r2 += r1\n"
		"r2 = *(u64 *)(r2 + 0)\n"
		".8byte 0x020d\n"
		"out0: r0 = 1\n"
		"exit\n"
		"out1: r1 = 2\n"
		"call %[table]\n"
		"exit\n"
		:: [before] "i"(before), [table] "i"(table) : "memory");
}

LICENSE;
