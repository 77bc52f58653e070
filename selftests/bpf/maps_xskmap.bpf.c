// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map of AF_XDP sockets, empty. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} sockets SEC(".maps");

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index & 3, XDP_PASS);
}

LICENSE;
