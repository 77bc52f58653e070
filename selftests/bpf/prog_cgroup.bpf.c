// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One program for each kind of cgroup hook: seven program types, many attach types. */
#include "bpfreplay.h"

volatile u64 hits;

SEC("cgroup_skb/ingress")
int in(struct __sk_buff *skb)
{
	hits++;
	return 1;
}

SEC("cgroup/skb")
int any(struct __sk_buff *skb)
{
	return skb->len > 0;
}

SEC("cgroup/sock_create")
int create(struct bpf_sock *sk)
{
	return sk->family != 0;
}

SEC("cgroup/post_bind4")
int bound(struct bpf_sock *sk)
{
	return sk->src_port != 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return ctx->user_ip4 != 0;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return ctx->user_ip6[3] != 0;
}

SEC("cgroup/getpeername4")
int peer(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/sysctl")
int sysctl(struct bpf_sysctl *ctx)
{
	return !ctx->write;
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	return ctx->level != 12345;
}

SEC("cgroup/dev")
int device(struct bpf_cgroup_dev_ctx *ctx)
{
	return ctx->major == 1;
}

LICENSE;
