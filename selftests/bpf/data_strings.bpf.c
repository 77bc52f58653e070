// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* String literals: .rodata.str1.1 has the strings without a name, and the program points into the middle. */
#include "bpfreplay.h"

const char *const volatile unused = 0;
static const char greeting[] = "hello from the object";

volatile char out[8];

SEC("socket")
int run(struct __sk_buff *skb)
{
	u32 at = skb->len & 7;

	out[0] = greeting[at];
	out[1] = greeting[6];
	bpf_printk("len %d", skb->len);
	return out[1];
}

LICENSE;
