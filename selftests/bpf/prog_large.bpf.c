// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program of some thousand instructions, with jumps over all of them. */
#include "bpfreplay.h"

#define ONE(n) h = (h ^ (skb->len + n)) * 16777619; if (h == n) goto out;
#define FOUR(n) ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3)
#define SIXTEEN(n) FOUR(n##0) FOUR(n##1) FOUR(n##2) FOUR(n##3)
#define SIXTYFOUR(n) SIXTEEN(n##0) SIXTEEN(n##1) SIXTEEN(n##2) SIXTEEN(n##3)

SEC("socket")
int run(struct __sk_buff *skb)
{
	u32 h = 2166136261U;

	SIXTYFOUR(1) SIXTYFOUR(2) SIXTYFOUR(3) SIXTYFOUR(4)
	SIXTYFOUR(5) SIXTYFOUR(6) SIXTYFOUR(7) SIXTYFOUR(8)
out:
	return h;
}

LICENSE;
