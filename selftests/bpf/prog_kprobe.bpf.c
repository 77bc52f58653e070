// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Probes: the load does not need the target, so they load on every kernel. */
#include "bpfreplay.h"

volatile u64 hits;

SEC("kprobe/do_sys_openat2")
int entry(void *ctx)
{
	hits++;
	return 0;
}

SEC("kretprobe/do_sys_openat2")
int leave(void *ctx)
{
	return 0;
}

SEC("uprobe/")
int user(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid();

	hits += id >> 32 ? 1 : 0;
	return 0;
}

LICENSE;
