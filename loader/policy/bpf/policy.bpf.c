// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Admits a program if the kernel has verified its signature with a key from a listed keyring,
 * or if an admitted program loads it.
 *
 * The hook runs after the kernel has verified the signature, so a signature that is present is
 * valid (6.18). On kernels that store the result of the verification, this asks for it (7.2).
 */
#include "../../../selftests/bpf/bpfreplay.h"

#define EPERM 1

/* Offsets in union bpf_attr of PROG_LOAD, which are ABI. */
#define PROG_TYPE 0
#define SIGNATURE 152
#define KEYRING_ID 164
#define PROG_NAME 48

struct bpf_prog_aux___signed {
	struct {
		u8 verdict;
		u8 keyring_type;
		s32 keyring_serial;
	} sig;
} KERNEL_TYPE;

struct bpf_prog___aux {
	struct bpf_prog_aux___signed *aux;
} KERNEL_TYPE;

enum { VERIFIED = 1 };
enum { TYPE_NONE, TYPE_BUILTIN, TYPE_SECONDARY, TYPE_PLATFORM, TYPE_USER };

struct config {
	u32 enforce; /* 0: only log */
	u32 unused;
	u64 until;   /* ns since boot at which enforcing ends, 0 for never */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct config);
} config SEC(".maps");

/* Serials, or 0 to 2 for the kernel's own keyrings. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, s32);
	__type(value, u32);
} keyrings SEC(".maps");

enum { UNSIGNED = 1, UNVERIFIED, OTHER_KEYRING };

struct refusal {
	u64 time; /* ns since boot */
	u32 pid;
	u32 prog_type;
	s32 keyring;
	u8 why;
	u8 enforced;
	u8 unused[2];
	char comm[16];
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} refusals SEC(".maps");

enum { SIGNED, BY_PROGRAM, REFUSED, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

static void count(u32 what)
{
	u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* Stores the keyring whose key verified the program. Returns 0, or why it was not verified. */
static u8 keyring_of(struct bpf_prog___aux *prog, void *attr, s32 *keyring)
{
	u64 signature = 0;

	bpf_probe_read_kernel(&signature, sizeof(signature), attr + SIGNATURE);
	bpf_probe_read_kernel(keyring, sizeof(*keyring), attr + KEYRING_ID);
	if (!signature)
		return UNSIGNED;
	if (bpf_core_field_exists(((struct bpf_prog_aux___signed *)0)->sig)) {
		struct bpf_prog_aux___signed *aux = BPF_CORE_READ(prog, aux);
		u8 type = BPF_CORE_READ(aux, sig.keyring_type);

		if (BPF_CORE_READ(aux, sig.verdict) != VERIFIED || type == TYPE_NONE)
			return UNVERIFIED;
		*keyring = type == TYPE_USER ? BPF_CORE_READ(aux, sig.keyring_serial) : type - TYPE_BUILTIN;
	}
	return 0;
}

SEC("lsm/bpf_prog_load")
int BPF_PROG(admit, struct bpf_prog___aux *prog, void *attr, void *token, bool kernel)
{
	struct config *c;
	struct refusal *r;
	s32 keyring = 0;
	u32 zero = 0;
	bool enforced;
	u8 why;

	if (kernel) { /* a program that was admitted is loading it, or a module */
		count(BY_PROGRAM);
		return 0;
	}
	why = keyring_of(prog, attr, &keyring);
	if (!why && !bpf_map_lookup_elem(&keyrings, &keyring))
		why = OTHER_KEYRING;
	if (!why) {
		count(SIGNED);
		return 0;
	}
	count(REFUSED);
	c = bpf_map_lookup_elem(&config, &zero);
	enforced = c && c->enforce && (!c->until || bpf_ktime_get_boot_ns() < c->until);
	r = bpf_ringbuf_reserve(&refusals, sizeof(*r), 0);
	if (r) {
		__builtin_memset(r, 0, sizeof(*r));
		r->time = bpf_ktime_get_boot_ns();
		r->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_probe_read_kernel(&r->prog_type, sizeof(r->prog_type), attr + PROG_TYPE);
		r->keyring = keyring;
		r->why = why;
		r->enforced = enforced;
		bpf_get_current_comm(r->comm, sizeof(r->comm));
		bpf_probe_read_kernel(r->name, sizeof(r->name), attr + PROG_NAME);
		bpf_ringbuf_submit(r, 0);
	}
	return enforced ? -EPERM : 0;
}

LICENSE;
