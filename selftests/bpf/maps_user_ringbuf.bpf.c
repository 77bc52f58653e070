// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A ring buffer that user space fills (6.1), drained through a callback. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 64 * 1024);
} commands SEC(".maps");

u32 drained;

__noinline_static long handle(struct bpf_dynptr *sample, void *ctx)
{
	drained++;
	return 0;
}

SEC("raw_tp/sys_enter")
int drain(void *ctx)
{
	return bpf_user_ringbuf_drain(&commands, handle, 0, 0);
}

LICENSE;
