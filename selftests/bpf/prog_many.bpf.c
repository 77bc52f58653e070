// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * 40 programs, more than libbpf's loader programs can hold (32), of three
 * types, most of them in one section and sharing a function.
 */
#include "bpfreplay.h"

volatile u64 calls;

__noinline_static int shared(u32 n)
{
	calls += n;
	return n;
}

#define SOCKET(n)				\
	SEC("socket")				\
	int sock##n(struct __sk_buff *skb)		\
	{					\
		return shared(1##n);		\
	}

#define XDP(n)					\
	SEC("xdp")				\
	int xdp##n(struct xdp_md *ctx)		\
	{					\
		return shared(n) & 1 ? XDP_PASS : XDP_DROP; \
	}

#define TC(n)					\
	SEC("tc")				\
	int tc##n(struct __sk_buff *skb)		\
	{					\
		return n;			\
	}

#define TEN(F, n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)

TEN(SOCKET, 1) TEN(XDP, 2) TEN(SOCKET, 3) TEN(TC, 4)

LICENSE;
