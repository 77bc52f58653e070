// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Weak typed symbols: one exists, the other does not and has address 0. */
#include "bpfreplay.h"

struct rq {
	int cpu;
} KERNEL_TYPE;

extern const struct rq runqueues __ksym __weak;
extern const int bpfreplay_no_such_variable __ksym __weak;

volatile u32 there, missing;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct rq *rq;

	there = ksym_exists(runqueues);
	missing = !ksym_exists(bpfreplay_no_such_variable);
	if (ksym_exists(runqueues)) {
		rq = (struct rq *)bpf_per_cpu_ptr(&runqueues, 0);
		if (rq)
			there += rq->cpu;
	}
	if (ksym_exists(bpfreplay_no_such_variable)) {
		int *n = bpf_this_cpu_ptr(&bpfreplay_no_such_variable);

		missing = *n;
	}
	return there * 10 + missing;
}

LICENSE;
