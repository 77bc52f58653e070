// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: a load from the start of an array, which is shorter here than in the kernel. The
 * width of the load is that of an element, not of the array. */
#include "bpfreplay.h"

struct task_struct___array {
	char comm[8];
} KERNEL_TYPE;

volatile char named;

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct___array *prev, struct task_struct *next)
{
	if (*prev->comm) /* each task has a name, whichever it is */
		named = 1;
	return 0;
}

LICENSE;
