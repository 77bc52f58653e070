// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: size and id of a type that the kernel lacks are 0, which is not a failure. */
#include "bpfreplay.h"

struct bpfreplay_no_such_type {
	int a;
};

volatile u32 size = 1, id = 1;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	size = bpf_core_type_size(struct bpfreplay_no_such_type);
	id = bpf_core_type_id_kernel(struct bpfreplay_no_such_type);
	return size + id;
}

LICENSE;
