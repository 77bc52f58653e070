// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Strong kfuncs in vmlinux: look up a key and put it (6.1). */
#include "bpfreplay.h"

/* Complete but empty: a forward declaration is not compatible with a struct. */
struct bpf_key {
};

extern struct bpf_key *bpf_lookup_system_key(u64 id) __ksym;
extern void bpf_key_put(struct bpf_key *key) __ksym;

volatile u32 found;

SEC("tp_btf/sys_enter")
int BPF_PROG(enter, struct pt_regs *regs, long id)
{
	struct bpf_key *key = bpf_lookup_system_key(0);

	if (!key)
		return 0;
	found++;
	bpf_key_put(key);
	return 0;
}

LICENSE;
