// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A program for a user-space probe in the notes of a file. Its attach type depends
 * on whether the kernel has uprobe_multi links (6.6).
 */
#include "bpfreplay.h"

volatile u64 hits;

SEC("usdt//bin/true:provider:name")
int probe(void *ctx)
{
	hits++;
	return 0;
}

LICENSE;
