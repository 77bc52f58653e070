// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program array whose slots the object fills, with a gap between them. */
#include "bpfreplay.h"

int five(struct __sk_buff *skb);
int nine(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(u32));
	__array(values, int (void *));
} jumps SEC(".maps") = {
	.values = { [0] = (void *)&five, [2] = (void *)&nine },
};

SEC("tc")
int five(struct __sk_buff *skb)
{
	return 5;
}

SEC("tc")
int nine(struct __sk_buff *skb)
{
	return 9;
}

SEC("tc")
int jump(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &jumps, 2);
	return 1;
}

LICENSE;
