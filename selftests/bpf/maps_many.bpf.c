// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * 72 maps, more than libbpf's loader programs can hold (64). A program may use
 * 64, so there are two programs.
 */
#include "bpfreplay.h"

#define MAP(n)						\
	struct {					\
		__uint(type, BPF_MAP_TYPE_ARRAY);	\
		__uint(max_entries, 1);			\
		__type(key, u32);			\
		__type(value, u32);			\
	} m##n SEC(".maps");

#define LOOK(n)							\
	value = bpf_map_lookup_elem(&m##n, &zero);		\
	if (value)						\
		sum += ++*value;

#define EIGHT(F, n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7)

EIGHT(MAP, 0) EIGHT(MAP, 1) EIGHT(MAP, 2) EIGHT(MAP, 3)
EIGHT(MAP, 4) EIGHT(MAP, 5) EIGHT(MAP, 6) EIGHT(MAP, 7)
EIGHT(MAP, 8)

SEC("socket")
int first(struct __sk_buff *skb)
{
	u32 zero = 0, sum = 0, *value;

	EIGHT(LOOK, 0) EIGHT(LOOK, 1) EIGHT(LOOK, 2) EIGHT(LOOK, 3)
	return sum;
}

SEC("socket")
int second(struct __sk_buff *skb)
{
	u32 zero = 0, sum = 0, *value;

	EIGHT(LOOK, 4) EIGHT(LOOK, 5) EIGHT(LOOK, 6) EIGHT(LOOK, 7) EIGHT(LOOK, 8)
	return sum;
}

LICENSE;
