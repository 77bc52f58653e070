// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: two reads whose ends the compiler has merged, of a field that the kernel has and of one that it lacks. */
#include "bpfreplay.h"

struct task_struct___now {
	u64 start_time;
} KERNEL_TYPE;

struct task_struct___never {
	u64 bpfreplay_time;
} KERNEL_TYPE;

volatile u64 value;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	void *task = (void *)bpf_get_current_task();
	u64 start;

	if (bpf_core_type_exists(struct task_struct___never)) {
		struct task_struct___now *now = task;

		start = BPF_CORE_READ(now, start_time);
	} else {
		struct task_struct___never *never = task;

		start = BPF_CORE_READ(never, bpfreplay_time);
	}
	value = start != 0;
	return 4;
}

LICENSE;
