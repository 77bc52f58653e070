// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Socket lookup. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} target SEC(".maps");

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	u32 zero = 0;
	struct bpf_sock *sk;

	if (ctx->local_port != 7777)
		return SK_PASS;
	sk = bpf_map_lookup_elem(&target, &zero);
	if (!sk)
		return SK_DROP;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}

LICENSE;
