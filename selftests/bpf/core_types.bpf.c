// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: existing and missing types of every named kind, their sizes and ids. */
#include "bpfreplay.h"

struct bpfreplay_no_such_type {
	int a;
};

union bpf_attr___exists {
	int dummy;
};

typedef struct {
	int counter;
} atomic_t;

typedef void (*bpfreplay_no_such_fn)(int);

struct list_head {
	struct list_head *next, *prev;
};

volatile u32 task, none, attr, atomic, fn, list_size;
volatile u32 kernel_id_known, local_id_known;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	task = bpf_core_type_exists(struct task_struct);
	none = bpf_core_type_exists(struct bpfreplay_no_such_type);
	attr = bpf_core_type_exists(union bpf_attr___exists);
	atomic = bpf_core_type_exists(atomic_t);
	fn = bpf_core_type_exists(bpfreplay_no_such_fn);
	list_size = bpf_core_type_size(struct list_head);
	kernel_id_known = bpf_core_type_id_kernel(struct task_struct) != 0;
	local_id_known = bpf_core_type_id_local(struct task_struct) != 0;
	return task + attr + atomic + list_size + none + fn + kernel_id_known;
}

LICENSE;
