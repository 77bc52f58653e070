// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: an enum of 32 bits here that has 64 in the kernel's BTF (since 6.0). */
#include "bpfreplay.h"

enum perf_callchain_context___narrow {
	PERF_CONTEXT_KERNEL___narrow = 1,
	PERF_CONTEXT_NOWHERE___narrow = 2,
};

volatile u32 kernel, nowhere;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	kernel = bpf_core_enum_value_exists(enum perf_callchain_context___narrow,
					    PERF_CONTEXT_KERNEL___narrow);
	nowhere = bpf_core_enum_value_exists(enum perf_callchain_context___narrow,
					     PERF_CONTEXT_NOWHERE___narrow);
	return kernel * 10 + nowhere;
}

LICENSE;
