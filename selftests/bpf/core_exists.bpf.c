// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: does a field exist, and how large is it; a missing field is read only where it exists. */
#include "bpfreplay.h"

struct task_struct___more {
	int pid;
	int bpfreplay_no_such_field;
	struct {
		int deep;
	} bpfreplay_no_such_struct;
} KERNEL_TYPE;

volatile u32 there, missing, deep, size, array_size;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___more *more = (void *)task;

	there = bpf_core_field_exists(more->pid);
	missing = bpf_core_field_exists(more->bpfreplay_no_such_field);
	deep = bpf_core_field_exists(more->bpfreplay_no_such_struct.deep);
	size = bpf_core_field_size(task->tgid);
	array_size = bpf_core_field_size(task->comm);
	if (bpf_core_field_exists(more->bpfreplay_no_such_field))
		size = BPF_CORE_READ(more, bpfreplay_no_such_field);
	return there * 100 + size * 10 + missing + deep + array_size;
}

LICENSE;
