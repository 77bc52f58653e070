// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two programs that read the kernel's version. */
#include "bpfreplay.h"

extern int LINUX_KERNEL_VERSION __kconfig;

SEC("socket")
int first(struct __sk_buff *skb)
{
	return LINUX_KERNEL_VERSION >= 0x050a00 ? 1 : 0;
}

SEC("socket")
int second(struct __sk_buff *skb)
{
	return LINUX_KERNEL_VERSION >= 0x050a00 ? 2 : 0;
}

LICENSE;
