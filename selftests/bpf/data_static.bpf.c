// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Static variables only. libbpf only makes a data map mmapable if it has a
 * variable that is not static, so these maps are not.
 */
#include "bpfreplay.h"

static volatile u32 runs;
static volatile u32 base = 100;
static const volatile u32 step = 5;

SEC("socket")
int run(struct __sk_buff *skb)
{
	runs++;
	base += step;
	return base + runs;
}

LICENSE;
