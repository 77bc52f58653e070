// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Socket filters, with legacy packet access. */
#include "bpfreplay.h"

u64 load_byte(void *skb, u64 off) asm("llvm.bpf.load.byte");

SEC("socket")
int whole(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("socket")
int legacy(struct __sk_buff *skb)
{
	return load_byte(skb, 0) == 0xff ? 0 : 64;
}

LICENSE;
