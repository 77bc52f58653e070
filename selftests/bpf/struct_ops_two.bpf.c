// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two struct_ops maps of one type with a link (6.4). They share programs; only one of them has an init. */
#include "bpfreplay.h"

struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
void init(u64 *ctx)
{
}

SEC("struct_ops")
u32 ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops")
void cong_avoid(u64 *ctx)
{
}

SEC("struct_ops")
u32 undo_cwnd(u64 *ctx)
{
	return 4;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops with_init = {
	.init = (void *)init,
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpfreplay_init",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops without_init = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpfreplay_none",
};

LICENSE;
