// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A weak kfunc behind a constant: the loader must handle the call, but no address. */
#include "bpfreplay.h"

extern int bpfreplay_no_such_kfunc(int n) __ksym __weak;

const volatile bool use_it = 0;

SEC("tc")
int run(struct __sk_buff *skb)
{
	if (use_it)
		return bpfreplay_no_such_kfunc(skb->len);
	return 22;
}

LICENSE;
