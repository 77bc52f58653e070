// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A page of an arena (6.9), which a program reads and writes through casts of address spaces. */
#include "bpfreplay.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33 /* BPF_MAP_TYPE_ARENA */);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
	__uint(map_extra, 0x20000000); /* its address in user space */
} arena SEC(".maps");

extern void __arena *bpf_arena_alloc_pages(void *map, void __arena *addr, u32 page_cnt,
					   int node_id, u64 flags) __ksym;

SEC("syscall")
int run(void *ctx)
{
	u32 __arena *page = bpf_arena_alloc_pages(&arena, 0, 1, -1, 0);

	if (!page)
		return 1;
	page[7] = 41;
	page[8] = page[7] + 1;
	return page[8];
}

LICENSE;
