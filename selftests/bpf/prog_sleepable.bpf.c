// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program that may sleep, and a helper that only such programs have. */
#include "bpfreplay.h"

volatile char first;

SEC("lsm.s/file_open")
int BPF_PROG(open, struct file *file)
{
	char c = 0;

	/* Address 0 is not mapped: the copy fails and leaves a zero. */
	bpf_copy_from_user(&c, sizeof(c), 0);
	first = c;
	return 0;
}

LICENSE;
