// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An empty program array: the tail call falls through, also from a subprogram. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} jumps SEC(".maps");

__noinline_static int deeper(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &jumps, 1);
	return skb->len;
}

SEC("tc")
int dispatch(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jumps, skb->len & 3);
	return deeper(skb) + 1;
}

LICENSE;
