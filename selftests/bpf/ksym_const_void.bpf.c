// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The same as ksym_typeless in libbpf's own spelling: const void. */
#include "bpfreplay.h"

extern const void vfs_read __ksym;

volatile u64 read_at;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	read_at = (u64)&vfs_read;
	return read_at != 0;
}

LICENSE;
