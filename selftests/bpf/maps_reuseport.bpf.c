// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An array of sockets for SO_REUSEPORT, with 8-byte values (cookies). */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} listeners SEC(".maps");

SEC("sk_reuseport")
int choose(struct sk_reuseport_md *md)
{
	u32 slot = md->hash & 3;

	return bpf_sk_select_reuseport(md, &listeners, &slot, 0) ? SK_DROP : SK_PASS;
}

LICENSE;
