// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A probe for many functions at once (5.18): an expected attach type of its own. */
#include "bpfreplay.h"

volatile u64 hits;

SEC("kprobe.multi/do_sys_open*")
int entry(void *ctx)
{
	hits++;
	return 0;
}

SEC("kretprobe.multi/do_sys_open*")
int leave(void *ctx)
{
	return 0;
}

LICENSE;
