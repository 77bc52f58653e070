// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Several prototypes of one kfunc, all weak: the kernel's exists, the others do not.
 * bpf_rdonly_cast (6.2) takes a pointer and a type id. If a loader finds none of
 * them, the kernel refuses the program for its read from any address.
 */
#include "bpfreplay.h"

extern void *bpf_rdonly_cast___alone(const void *obj) __ksym __weak;
extern void *bpf_rdonly_cast___swapped(u32 id, const void *obj) __ksym __weak;
extern void *bpf_rdonly_cast___right(const void *obj, u32 id) __ksym __weak;

SEC("tc")
int run(struct __sk_buff *skb)
{
	if (ksym_exists(bpf_rdonly_cast___alone))
		return bpf_rdonly_cast___alone(skb) ? 1 : 2;
	if (ksym_exists(bpf_rdonly_cast___swapped))
		return bpf_rdonly_cast___swapped(0, skb) ? 3 : 4;
	if (ksym_exists(bpf_rdonly_cast___right))
		return 5;
	return *(volatile int *)(long)skb->len; /* refused, unless it is not reached */
}

LICENSE;
