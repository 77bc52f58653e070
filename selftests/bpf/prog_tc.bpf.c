// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Traffic control: classifier and action, by the names that both old and new libbpf know. */
#include "bpfreplay.h"

volatile u64 bytes;

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	bytes += skb->len;
	skb->mark = 7;
	return 0;
}

SEC("classifier")
int egress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 14 > end)
		return 2;
	return *(u8 *)data;
}

SEC("action")
int act(struct __sk_buff *skb)
{
	return -1;
}

LICENSE;
