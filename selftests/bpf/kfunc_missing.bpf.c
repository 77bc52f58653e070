// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A strong kfunc that no kernel has: refused. */
#include "bpfreplay.h"

extern int bpfreplay_no_such_kfunc(int n) __ksym;

SEC("tc")
int run(struct __sk_buff *skb)
{
	return bpfreplay_no_such_kfunc(1);
}

LICENSE;
