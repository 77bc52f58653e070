// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A strong typed symbol that no kernel has: refused. */
#include "bpfreplay.h"

extern const int bpfreplay_no_such_variable __ksym;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	int *n = bpf_this_cpu_ptr(&bpfreplay_no_such_variable);

	return *n;
}

LICENSE;
