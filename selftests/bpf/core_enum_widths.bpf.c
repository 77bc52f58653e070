// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: enums whose width differs from the kernel's, in both directions. The
 * kernel's pid_type has 32 bits, its perf_callchain_context 64. */
#include "bpfreplay.h"

enum pid_type___wide {
	PIDTYPE_TGID___wide = 7,
	BPFREPLAY_WIDE___wide = 0x100000000ULL,
};

enum perf_callchain_context___small {
	PERF_CONTEXT_HV___small = 1,
	PERF_CONTEXT_NOWHERE___small = 2,
};

volatile u64 tgid, hypervisor;
volatile u32 wide, nowhere, types, sizes;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	tgid = bpf_core_enum_value(enum pid_type___wide, PIDTYPE_TGID___wide);
	wide = bpf_core_enum_value_exists(enum pid_type___wide, BPFREPLAY_WIDE___wide);
	hypervisor = bpf_core_enum_value(enum perf_callchain_context___small,
					 PERF_CONTEXT_HV___small);
	nowhere = bpf_core_enum_value_exists(enum perf_callchain_context___small,
					     PERF_CONTEXT_NOWHERE___small);
	types = bpf_core_type_exists(enum pid_type___wide) * 2 +
		bpf_core_type_exists(enum perf_callchain_context___small);
	sizes = bpf_core_type_size(enum pid_type___wide) * 16 +
		bpf_core_type_size(enum perf_callchain_context___small);
	/* (u64)-32 is the value in the kernel's perf_callchain_context. */
	return tgid * 1000 + (hypervisor == (u64)-32) * 100 + types * 10 + wide + nowhere;
}

LICENSE;
