// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Per-CPU array and hash. The program only looks up and deletes, so that the
 * contents do not depend on the CPU that it ran on.
 */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64[3]);
} hash SEC(".maps");

SEC("socket")
int look(struct __sk_buff *skb)
{
	u32 key = 1;
	u64 *value = bpf_map_lookup_elem(&array, &key);

	if (!value || *value)
		return 0;
	return bpf_map_delete_elem(&hash, &key) ? 5 : 6;
}

LICENSE;
