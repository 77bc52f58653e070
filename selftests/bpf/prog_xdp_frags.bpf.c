// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP for packets in several buffers (5.18): a program flag. */
#include "bpfreplay.h"

SEC("xdp.frags")
int filter(struct xdp_md *ctx)
{
	return bpf_xdp_get_buff_len(ctx) > 60 ? XDP_PASS : XDP_DROP;
}

LICENSE;
