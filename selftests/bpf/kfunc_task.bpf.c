// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Strong kfuncs in vmlinux: a reference to a task (6.2). */
#include "bpfreplay.h"

extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;

volatile u32 held;

SEC("tp_btf/task_newtask")
int BPF_PROG(newtask, struct task_struct *task, u64 clone_flags)
{
	struct task_struct *ref = bpf_task_acquire(task);

	if (!ref)
		return 0;
	held++;
	bpf_task_release(ref);
	return 0;
}

LICENSE;
