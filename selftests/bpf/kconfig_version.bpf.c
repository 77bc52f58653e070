// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The kernel's version and configuration as constants. */
#include "bpfreplay.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;

SEC("socket")
int run(struct __sk_buff *skb)
{
	return (LINUX_KERNEL_VERSION >= 0x050a00) + (CONFIG_HZ >= 100) + CONFIG_BPF_SYSCALL;
}

LICENSE;
