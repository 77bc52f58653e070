// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Weak symbols without a type: one exists, the other does not. */
#include "bpfreplay.h"

extern void vfs_read __ksym __weak;
extern void bpfreplay_no_such_symbol __ksym __weak;

volatile u64 there, missing = 1;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	there = (u64)&vfs_read;
	missing = (u64)&bpfreplay_no_such_symbol;
	return (there != 0) * 10 + (missing != 0);
}

LICENSE;
