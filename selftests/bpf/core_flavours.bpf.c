// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * CO-RE: two shapes of one struct. The state of a task was called `state` until
 * 5.13 and `__state` from 5.14 on; exactly one of the two exists.
 */
#include "bpfreplay.h"

struct task_struct___old {
	volatile long state;
} KERNEL_TYPE;

struct task_struct___new {
	unsigned int __state;
} KERNEL_TYPE;

volatile u32 have_old, have_new;
volatile u64 state;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	void *task = (void *)bpf_get_current_task();
	struct task_struct___old *old = task;
	struct task_struct___new *new = task;

	have_old = bpf_core_field_exists(old->state);
	have_new = bpf_core_field_exists(new->__state);
	if (bpf_core_field_exists(new->__state))
		state = BPF_CORE_READ(new, __state);
	else
		state = BPF_CORE_READ(old, state);
	/* The current task is running: state 0. */
	return have_old + have_new + state;
}

LICENSE;
