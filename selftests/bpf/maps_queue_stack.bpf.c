// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps without keys: a queue and a stack. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__uint(value_size, 4);
} fifo SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 8);
	__uint(value_size, 4);
} lifo SEC(".maps");

SEC("socket")
int shuffle(struct __sk_buff *skb)
{
	u32 one = 1, two = 2, a = 0, b = 0;

	bpf_map_push_elem(&fifo, &one, 0);
	bpf_map_push_elem(&fifo, &two, 0);
	bpf_map_push_elem(&lifo, &one, 0);
	bpf_map_push_elem(&lifo, &two, 0);
	if (bpf_map_pop_elem(&fifo, &a) || bpf_map_pop_elem(&lifo, &b))
		return 0;
	return a * 10 + b;
}

LICENSE;
