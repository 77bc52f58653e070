// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A CPU map with one slot, because every machine has one CPU. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

SEC("xdp")
int spread(struct xdp_md *ctx)
{
	return bpf_redirect_map(&cpus, 0, XDP_PASS);
}

LICENSE;
