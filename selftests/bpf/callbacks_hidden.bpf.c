// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The address of a function that is hidden, not static (bpf_loop, 5.17). It is not
 * the first of .text, which returns a value that a callback must not return.
 */
#include "bpfreplay.h"

volatile u32 rounds;

static __attribute__((noinline, used)) long first(u32 i, void *ctx)
{
	rounds += i;
	return rounds + 5;
}

__hidden __attribute__((noinline)) long second(u32 i, void *ctx)
{
	rounds++;
	return i == 3;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	long n = first(100, 0);

	return n + bpf_loop(10, second, 0, 0);
}

LICENSE;
