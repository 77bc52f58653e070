// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A hidden function that takes a pointer to a map value. It only passes
 * the verifier as a static function, which is verified with its callers.
 */
#include "bpfreplay.h"

struct state {
	u64 n;
	u64 m;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct state);
} states SEC(".maps");

__hidden __attribute__((noinline)) int bump(void *where)
{
	struct state *s = where;

	s->n++;
	return s->n;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct state *s = bpf_map_lookup_elem(&states, &zero);

	return s ? bump(s) : 0;
}

LICENSE;
