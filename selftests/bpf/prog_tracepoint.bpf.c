// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Classic tracepoints, by both spellings. */
#include "bpfreplay.h"

struct enter_args {
	u64 common;
	long id;
	unsigned long args[6];
};

volatile u64 last;

SEC("tracepoint/syscalls/sys_enter_openat")
int openat(struct enter_args *ctx)
{
	last = ctx->args[1];
	return 0;
}

SEC("tp/sched/sched_switch")
int switched(void *ctx)
{
	return 0;
}

LICENSE;
