// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* 40 functions in one program, more than libbpf's loader programs can hold (32). */
#include "bpfreplay.h"

#define FUNC(n)							\
	__attribute__((noinline)) int f##n(int x)		\
	{							\
		return x + 1##n;				\
	}

#define CALL(n) sum += f##n(sum);

#define TEN(F, n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)

TEN(FUNC, 1) TEN(FUNC, 2) TEN(FUNC, 3) TEN(FUNC, 4)

SEC("socket")
int run(struct __sk_buff *skb)
{
	int sum = skb->len;

	TEN(CALL, 1) TEN(CALL, 2) TEN(CALL, 3) TEN(CALL, 4)
	return sum;
}

LICENSE;
