// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Many references in one program: to maps, and into data sections at various offsets. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} a SEC(".maps"), b SEC(".maps"), c SEC(".maps");

struct nested {
	u32 x;
	struct {
		u64 y[4];
	} in[3];
};

volatile struct nested data = { .x = 1, .in = { [1] = { .y = { [2] = 77 } } } };
volatile struct nested bss;
const volatile struct nested ro = { .x = 3, .in = { [2] = { .y = { [3] = 9 } } } };
volatile u64 tail = 5;

#define STEP(map, n)						\
	do {							\
		u32 key = n;					\
		u64 *v = bpf_map_lookup_elem(&map, &key);	\
								\
		if (!v)						\
			return -n;				\
		*v += ro.in[2].y[3] + data.in[1].y[2];		\
		bss.in[n % 3].y[n % 4] += *v;			\
		tail += n;					\
	} while (0)

#define ROUND(n) STEP(a, n); STEP(b, n); STEP(c, n); STEP(a, n)

SEC("socket")
int run(struct __sk_buff *skb)
{
	ROUND(0);
	ROUND(1);
	ROUND(2);
	ROUND(3);
	ROUND(4);
	ROUND(5);
	ROUND(6);
	ROUND(7);
	return tail;
}

LICENSE;
