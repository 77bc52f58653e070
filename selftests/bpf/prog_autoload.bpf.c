// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that are only loaded on request, before and between two others. */
#include "bpfreplay.h"

volatile u64 seen;

SEC("?raw_tp/sys_enter")
int asked_for(void *ctx)
{
	seen += 100;
	return 1;
}

SEC("socket")
int first(struct __sk_buff *skb)
{
	seen++;
	return 2;
}

SEC("?tc")
int asked_for_too(struct __sk_buff *skb)
{
	return 3;
}

SEC("xdp")
int last(struct xdp_md *ctx)
{
	seen += 10;
	return 2;
}

LICENSE;
