// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Raw tracepoints, by both spellings. */
#include "bpfreplay.h"

volatile u64 last;

SEC("raw_tp/sys_enter")
int enter(struct bpf_raw_tracepoint_args *ctx)
{
	last = ctx->args[1];
	return 0;
}

SEC("raw_tracepoint/sys_exit")
int leave(struct bpf_raw_tracepoint_args *ctx)
{
	return 3;
}

LICENSE;
