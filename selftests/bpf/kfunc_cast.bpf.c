// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A kfunc whose result has the type whose id in the kernel's BTF is an argument (6.2). */
#include "bpfreplay.h"

struct net_device {
	int ifindex;
} KERNEL_TYPE;

struct sk_buff {
	unsigned int len;
	struct net_device *dev;
} KERNEL_TYPE;

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym;

SEC("tc")
int run(struct __sk_buff *skb)
{
	struct sk_buff *kskb = bpf_cast_to_kern_ctx(skb);
	struct net_device *dev = bpf_rdonly_cast(kskb->dev,
						 bpf_core_type_id_kernel(struct net_device));

	return (kskb->len == skb->len) * 10 + (dev->ifindex == skb->ifindex);
}

LICENSE;
