// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Lightweight tunnels and the flow dissector. */
#include "bpfreplay.h"

SEC("lwt_in")
int in(struct __sk_buff *skb)
{
	return 0;
}

SEC("lwt_out")
int out(struct __sk_buff *skb)
{
	return skb->len > 20 ? 0 : 2;
}

SEC("lwt_xmit")
int xmit(struct __sk_buff *skb)
{
	return 0;
}

SEC("lwt_seg6local")
int seg6(struct __sk_buff *skb)
{
	return 0;
}

SEC("flow_dissector")
int dissect(struct __sk_buff *skb)
{
	struct bpf_flow_keys *keys = skb->flow_keys;

	keys->n_proto = 0x0008;
	return 0;
}

LICENSE;
