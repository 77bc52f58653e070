// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Cgroup local storage (6.2), reached from a task. */
#include "bpfreplay.h"

/* The build machine's uapi header may lack it. */
#define MAP_TYPE_CGRP_STORAGE 32

struct {
	__uint(type, MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} groups SEC(".maps");

SEC("tp_btf/sys_enter")
int BPF_PROG(enter, struct pt_regs *regs, long id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 *n = bpf_cgrp_storage_get(&groups, task->cgroups->dfl_cgrp, 0,
				      BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

LICENSE;
