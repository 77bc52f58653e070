// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE inside functions that are appended to the program: the records move with them. */
#include "bpfreplay.h"

struct task_struct___more {
	int bpfreplay_no_such_field;
} KERNEL_TYPE;

__noinline_static int tgid_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, tgid);
}

__attribute__((noinline)) int field_is_there(int n)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return n + bpf_core_field_exists(task->real_parent);
}

__noinline_static int missing(struct task_struct___more *task)
{
	if (bpf_core_field_exists(task->bpfreplay_no_such_field))
		return BPF_CORE_READ(task, bpfreplay_no_such_field);
	return 5;
}

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int same = tgid_of(task) == BPF_CORE_READ(task, group_leader, pid);

	return same * 100 + field_is_there(10) + missing((void *)task);
}

SEC("raw_tp/sys_exit")
int again(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return missing((void *)task) + (tgid_of(task) != 0);
}

LICENSE;
