// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: types that match as a whole (6.0 in the kernel, every kernel when user space decides). */
#include "bpfreplay.h"

struct list_head {
	struct list_head *next, *prev;
};

struct list_head___wrong {
	int next;
};

volatile u32 right, wrong;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	right = bpf_core_type_matches(struct list_head);
	wrong = bpf_core_type_matches(struct list_head___wrong);
	return right * 10 + wrong;
}

LICENSE;
