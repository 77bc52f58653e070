// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Memory of a given NUMA node. Node 0 always exists. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} local SEC(".maps");

SEC("socket")
int look(struct __sk_buff *skb)
{
	u32 key = 1;

	return bpf_map_lookup_elem(&local, &key) ? 1 : 0;
}

LICENSE;
