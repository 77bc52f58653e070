// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program on a perf event. */
#include "bpfreplay.h"

volatile u64 samples;

SEC("perf_event")
int sample(void *ctx)
{
	samples++;
	return 0;
}

LICENSE;
