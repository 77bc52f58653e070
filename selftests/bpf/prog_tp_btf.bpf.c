// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs on BTF-typed tracepoints: the target is the typedef btf_trace_NAME. */
#include "bpfreplay.h"

volatile u64 entered, left;

SEC("tp_btf/sys_enter")
int BPF_PROG(enter, struct pt_regs *regs, long id)
{
	entered += id;
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(leave, struct pt_regs *regs, long ret)
{
	left++;
	return 0;
}

LICENSE;
