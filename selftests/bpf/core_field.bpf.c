// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: field offsets, through pointers, arrays and nested members, as memory operands and as immediates. */
#include "bpfreplay.h"

volatile u32 pid_is_set, parent_is_set, comm_is_set, leads_itself;
volatile u32 comm_third;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	char comm[16] = {};

	pid_is_set = BPF_CORE_READ(task, pid) != 0;
	parent_is_set = BPF_CORE_READ(task, real_parent, group_leader, tgid) >= 0;
	leads_itself = BPF_CORE_READ(leader, group_leader) == leader;
	BPF_CORE_READ_STR_INTO(&comm, task, comm);
	comm_is_set = comm[0] != 0;
	comm_third = bpf_core_field_offset(task->comm[3]) - bpf_core_field_offset(task->comm);
	return pid_is_set + leads_itself + comm_is_set + comm_third;
}

LICENSE;
