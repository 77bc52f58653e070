// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that change what a function returns; the kernel keeps a list of those that allow it. */
#include "bpfreplay.h"

volatile u64 calls;

SEC("fmod_ret/bpf_modify_return_test")
int BPF_PROG(modify, int a, int *b, int ret)
{
	calls++;
	return ret;
}

SEC("fmod_ret/security_file_open")
int BPF_PROG(security, struct file *file, int ret)
{
	return ret;
}

LICENSE;
