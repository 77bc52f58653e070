// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* 256 calls of two kfuncs, in a program and in its subprogram. */
#include "bpfreplay.h"

extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;

volatile u32 held;

#define ONE					\
	ref = bpf_task_acquire(task);		\
	if (ref) {				\
		held++;				\
		bpf_task_release(ref);		\
	}

#define FOUR ONE ONE ONE ONE
#define SIXTEEN FOUR FOUR FOUR FOUR
#define SIXTYFOUR SIXTEEN SIXTEEN SIXTEEN SIXTEEN

__noinline_static int more(void)
{
	struct task_struct *task = bpf_get_current_task_btf(), *ref;

	SIXTYFOUR
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(newtask, struct task_struct *task, u64 clone_flags)
{
	struct task_struct *ref;

	SIXTYFOUR
	return more();
}

LICENSE;
