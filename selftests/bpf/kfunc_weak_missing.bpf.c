// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A weak kfunc that no kernel has: its address is 0 and the call is never reached. */
#include "bpfreplay.h"

extern int bpfreplay_no_such_kfunc(int n) __ksym __weak;

SEC("tc")
int run(struct __sk_buff *skb)
{
	if (ksym_exists(bpfreplay_no_such_kfunc))
		return bpfreplay_no_such_kfunc(1);
	return 21;
}

LICENSE;
