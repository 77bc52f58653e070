// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Perf event arrays with sizes of their own, one of them with BPF_F_PRESERVE_ELEMS. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, u32);
} one SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(map_flags, BPF_F_PRESERVE_ELEMS);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 4);
} eight SEC(".maps");

SEC("raw_tp/sys_enter")
int emit(void *ctx)
{
	u64 sample = 1;

	bpf_perf_event_output(ctx, &one, 0, &sample, sizeof(sample));
	return bpf_perf_event_output(ctx, &eight, BPF_F_CURRENT_CPU, &sample, sizeof(sample));
}

LICENSE;
