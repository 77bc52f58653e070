// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A helper that only GPL-compatible programs may call. */
#include "bpfreplay.h"

SEC("raw_tp/sys_enter")
int unlicensed(void *ctx)
{
	return bpf_get_current_task() != 0;
}

char _license[] SEC("license") = "Proprietary";
