// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program that may call bpf(2) itself: the type of loader programs. */
#include "bpfreplay.h"

struct args {
	u64 in;
	u64 out;
};

SEC("syscall")
int run(struct args *ctx)
{
	/* -1 is not a file descriptor: -EBADF. */
	ctx->out = ctx->in + 1;
	return bpf_sys_close(-1) == -9 ? 12 : 0;
}

LICENSE;
