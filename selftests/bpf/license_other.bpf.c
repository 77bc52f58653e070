// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A licence that is not GPL-compatible, and a program that does not need one. */
#include "bpfreplay.h"

SEC("socket")
int run(struct __sk_buff *skb)
{
	return 1;
}

char _license[] SEC("license") = "Apache-2.0";
