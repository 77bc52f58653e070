// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A global function that takes a pointer to memory of a known size (5.12). */
#include "bpfreplay.h"

struct args {
	u32 a;
	u32 b;
};

__attribute__((noinline)) int sum(struct args *args)
{
	if (!args)
		return 0;
	return args->a + args->b;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	struct args args = { .a = 1, .b = 2 };

	args.b += skb->len * 2;
	return sum(&args);
}

LICENSE;
