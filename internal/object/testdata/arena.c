// An arena and its global variables.
#include "common.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} first SEC(".maps");

struct {
	__uint(type, 33 /* BPF_MAP_TYPE_ARENA, 6.9 */);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 100);
	__ulong(map_extra, 0x1ull << 44);
} arena SEC(".maps");

int __arena in_arena = 0x1234;
int __arena second = 0x5678;

SEC("syscall") int use(void *ctx)
{
	int k = 0;

	bpf_map_lookup_elem(&first, &k);
	in_arena += second;
	return (long)&arena != 0;
}

char _license[] SEC("license") = "GPL";
