// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that change what a function returns: every function security_* allows it. */
#include "bpfreplay.h"

volatile u64 calls;

SEC("fmod_ret/security_task_kill")
int BPF_PROG(kill, struct task_struct *task, void *info, int sig, void *cred, int ret)
{
	calls++;
	return ret;
}

SEC("fmod_ret/security_file_open")
int BPF_PROG(open, struct file *file, int ret)
{
	return ret;
}

LICENSE;
