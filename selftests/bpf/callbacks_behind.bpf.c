// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A callback that comes before the function that passes it on, another callback (5.17):
 * its address is a negative distance. */
#include "bpfreplay.h"

volatile u32 rounds;

static int inner(u32 i, void *ctx)
{
	rounds++;
	return i == 3;
}

static int outer(u32 i, void *ctx)
{
	u32 *sum = ctx;

	*sum += bpf_loop(10, inner, 0, 0);
	return 0;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	u32 sum = bpf_loop(3, inner, 0, 0);

	bpf_loop(5, outer, &sum, 0);
	return sum;
}

LICENSE;
