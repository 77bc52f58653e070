// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Entry and exit of functions that the kernel has for such tests. */
#include "bpfreplay.h"

volatile u64 entry, leave;

SEC("fentry/bpf_fentry_test1")
int BPF_PROG(before, int a)
{
	entry = a;
	return 0;
}

SEC("fexit/bpf_fentry_test2")
int BPF_PROG(after, int a, u64 b, int ret)
{
	leave = a + b + ret;
	return 0;
}

LICENSE;
