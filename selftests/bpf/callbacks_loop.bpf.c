// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two callbacks for bpf_loop (5.17), one inside the other. */
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
	u32 sum = 0;

	bpf_loop(5, outer, &sum, 0);
	return sum;
}

LICENSE;
