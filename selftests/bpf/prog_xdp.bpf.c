// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP, with access to the packet, and the two programs that live in maps. */
#include "bpfreplay.h"

struct ethernet {
	u8 dst[6];
	u8 src[6];
	u16 proto;
};

volatile u64 packets;

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethernet *eth = (void *)(long)ctx->data;

	packets++;
	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	return eth->dst[0] == 0xff ? XDP_DROP : XDP_PASS;
}

SEC("xdp/devmap")
int on_device(struct xdp_md *ctx)
{
	return ctx->egress_ifindex ? XDP_PASS : XDP_DROP;
}

SEC("xdp/cpumap")
int on_cpu(struct xdp_md *ctx)
{
	return XDP_PASS;
}

LICENSE;
