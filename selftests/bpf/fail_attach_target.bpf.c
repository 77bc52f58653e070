// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An attach target that no kernel has. */
#include "bpfreplay.h"

SEC("fentry/bpfreplay_no_such_function")
int BPF_PROG(enter, int a)
{
	return 0;
}

LICENSE;
