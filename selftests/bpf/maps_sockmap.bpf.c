// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps of sockets by index and by hash, with the programs that fill and use them. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} by_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 32);
	__type(key, u64);
	__type(value, u64);
} by_tuple SEC(".maps");

SEC("sockops")
int established(struct bpf_sock_ops *ops)
{
	u64 key = ops->local_port;

	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(ops, &by_tuple, &key, BPF_NOEXIST);
	return 0;
}

SEC("sk_msg")
int message(struct sk_msg_md *msg)
{
	u64 key = 1;

	return bpf_msg_redirect_hash(msg, &by_tuple, &key, BPF_F_INGRESS);
}

SEC("sk_skb/stream_verdict")
int verdict(struct __sk_buff *skb)
{
	return bpf_sk_redirect_map(skb, &by_index, 1, 0);
}

SEC("sk_skb/stream_parser")
int parser(struct __sk_buff *skb)
{
	return skb->len;
}

LICENSE;
