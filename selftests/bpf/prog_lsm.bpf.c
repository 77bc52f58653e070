// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* LSM hooks: the target is bpf_lsm_NAME; one void hook, one that may sleep. */
#include "bpfreplay.h"

volatile u64 opened, committed;

SEC("lsm/file_open")
int BPF_PROG(open, struct file *file)
{
	opened++;
	return 0;
}

SEC("lsm.s/bprm_committed_creds")
int BPF_PROG(committed_creds, struct linux_binprm *bprm)
{
	committed++;
	return 0;
}

LICENSE;
