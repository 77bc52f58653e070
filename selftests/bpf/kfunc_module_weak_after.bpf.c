// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A weak kfunc that no kernel has, in the program after one that calls kfuncs of a
 * module. libbpf's loader program holds fds of the module's BTF while it loads the
 * first program, and closes them. The second program's fd then has the number of one
 * of them.
 */
#include "bpfreplay.h"

/* Complete but empty: a forward declaration is not compatible with a struct. */
struct nf_conn {
};

struct bpf_ct_opts {
	s32 netns_id;
	s32 error;
	u8 l4proto;
	u8 dir;
	u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple,
					 u32 tuple_size, struct bpf_ct_opts *opts,
					 u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;
extern int bpfreplay_no_such_kfunc(int n) __ksym __weak;

const volatile bool there = 0;

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	struct bpf_ct_opts opts = { .netns_id = -1, .l4proto = 6 };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *ct;

	ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (ct) {
		bpf_ct_release(ct);
		return XDP_PASS;
	}
	return XDP_DROP;
}

SEC("tc")
int after(struct __sk_buff *skb)
{
	if (there)
		return bpfreplay_no_such_kfunc(1);
	return 21;
}

LICENSE;
