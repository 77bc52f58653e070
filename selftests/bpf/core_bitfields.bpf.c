// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: bitfields, whose offset, size, shifts and sign are relocated one by one. */
#include "bpfreplay.h"

/* Other widths and offsets than in the kernel: only the names matter. */
struct task_struct___bits {
	unsigned int sched_reset_on_fork : 9;
	unsigned int in_iowait : 5;
	int pid;
} KERNEL_TYPE;

volatile u64 reset_on_fork, in_iowait;
volatile u32 pid_signed, flag_signed, pid_shift;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	struct task_struct___bits *task = (void *)bpf_get_current_task();

	reset_on_fork = BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork);
	in_iowait = BPF_CORE_READ_BITFIELD_PROBED(task, in_iowait);
	pid_signed = __builtin_preserve_field_info(task->pid, BPF_FIELD_SIGNED);
	flag_signed = __builtin_preserve_field_info(task->in_iowait, BPF_FIELD_SIGNED);
	pid_shift = __builtin_preserve_field_info(task->pid, BPF_FIELD_RSHIFT_U64);
	return pid_signed * 1000 + flag_signed * 100 + pid_shift + reset_on_fork;
}

LICENSE;
