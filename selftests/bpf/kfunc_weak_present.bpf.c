// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A weak kfunc that exists: the program tests its address (6.4) and calls it. */
#include "bpfreplay.h"

extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym __weak;
extern void bpf_task_release(struct task_struct *p) __ksym __weak;

volatile u32 held;

SEC("tp_btf/task_newtask")
int BPF_PROG(newtask, struct task_struct *task, u64 clone_flags)
{
	struct task_struct *ref;

	if (!ksym_exists(bpf_task_acquire) || !ksym_exists(bpf_task_release))
		return 0;
	ref = bpf_task_acquire(task);
	if (ref) {
		held++;
		bpf_task_release(ref);
	}
	return 0;
}

LICENSE;
