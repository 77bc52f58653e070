// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A strong symbol without a type that no kernel has: refused, not address 0. */
#include "bpfreplay.h"

extern void bpfreplay_no_such_symbol __ksym;

volatile u64 missing;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	missing = (u64)&bpfreplay_no_such_symbol;
	return 0;
}

LICENSE;
