// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Typed symbols: per-CPU variables that the kernel's BTF lists, used twice and from two programs. */
#include "bpfreplay.h"

struct rq {
	unsigned int nr_running;
	int cpu;
} KERNEL_TYPE;

extern const struct rq runqueues __ksym;
extern const int bpf_prog_active __ksym;

volatile u32 cpu, running, active;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct rq *rq = (struct rq *)bpf_per_cpu_ptr(&runqueues, 0);
	int *n = (int *)bpf_per_cpu_ptr(&bpf_prog_active, 0);

	if (!rq || !n)
		return 0;
	cpu = rq->cpu;
	rq = bpf_this_cpu_ptr(&runqueues);
	running = rq->nr_running > 0;
	active = *n >= 0;
	return 40 + cpu + running + active;
}

SEC("raw_tp/sys_exit")
int leave(void *ctx)
{
	struct rq *rq = bpf_this_cpu_ptr(&runqueues);

	return rq->cpu >= 0;
}

LICENSE;
