// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Stack traces, filled from a raw tracepoint. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 32);
	__uint(key_size, 4);
	__uint(value_size, 16 * sizeof(u64));
} stacks SEC(".maps");

SEC("raw_tp/sys_enter")
int trace(void *ctx)
{
	return bpf_get_stackid(ctx, &stacks, 0) < 0;
}

LICENSE;
