// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: loads through typed pointers, relocated in the instruction's offset field. */
#include "bpfreplay.h"

volatile u32 pids, leaders;

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	if (prev->pid == next->pid)
		return 0;
	pids += prev->tgid != next->tgid;
	leaders += prev->group_leader->pid == prev->pid;
	return 0;
}

LICENSE;
