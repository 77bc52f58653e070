// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: a relocation that cannot be resolved, in code that never runs, must not stop the load. */
#include "bpfreplay.h"

struct bpfreplay_no_such_type {
	long first;
	long second;
} KERNEL_TYPE;

const volatile u32 enabled = 0;
volatile long value;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct bpfreplay_no_such_type *none = ctx;

	if (enabled)
		value = BPF_CORE_READ(none, second);
	return 9;
}

LICENSE;
