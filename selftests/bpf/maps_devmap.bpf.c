// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Device maps by index and by hash. The kernel accepts no BTF for them, although the
 * object has types, and the kernel adds BPF_F_RDONLY_PROG by itself.
 */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct bpf_devmap_val);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 4);
} sparse SEC(".maps");

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	/* Both slots are empty: the lower bits of the flags are the verdict. */
	if (bpf_redirect_map(&ports, 0, XDP_PASS) != XDP_PASS)
		return XDP_ABORTED;
	return bpf_redirect_map(&sparse, 7, XDP_DROP);
}

LICENSE;
