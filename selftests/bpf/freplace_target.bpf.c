// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program with a function that another program may replace, and one without. */
#include "bpfreplay.h"

__noinline int replaceable(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("tc")
int caller(struct __sk_buff *skb)
{
	return replaceable(skb);
}

SEC("tc")
int other(struct __sk_buff *skb)
{
	return 1;
}

char _license[] SEC("license") = "GPL";
