// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A ring buffer: 64 KiB, a whole number of pages on every architecture. */
#include "bpfreplay.h"

struct event {
	u64 seq;
	u32 len;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

SEC("socket")
int emit(struct __sk_buff *skb)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 1;
	e->seq = 1;
	e->len = skb->len;
	e->pad = 0;
	bpf_ringbuf_submit(e, 0);
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
}

LICENSE;
