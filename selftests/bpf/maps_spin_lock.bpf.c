// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A spin lock inside the value: the kernel finds it through the value's BTF. */
#include "bpfreplay.h"

struct account {
	struct bpf_spin_lock lock;
	u32 owner;
	u64 balance;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct account);
} by_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct account);
} by_index SEC(".maps");

SEC("tc")
int pay(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct account *a = bpf_map_lookup_elem(&by_index, &zero);
	struct account *b = bpf_map_lookup_elem(&by_key, &zero);

	if (!a)
		return 0;
	bpf_spin_lock(&a->lock);
	a->balance += skb->len;
	a->owner = 1;
	bpf_spin_unlock(&a->lock);
	if (b) {
		bpf_spin_lock(&b->lock);
		b->balance -= skb->len;
		bpf_spin_unlock(&b->lock);
	}
	return a->balance;
}

LICENSE;
