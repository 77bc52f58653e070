// The other half of linked.o.
#include "common.h"

static volatile int state = 2;
int shared_count = 3;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} shared_map SEC(".maps") __weak;

static __noinline int helper(int n) { return n * state; }
__noinline int choose(int n) { return helper(n) - shared_count; }

SEC("tc") int prog_b(struct __sk_buff *ctx)
{
	int k = 0;

	bpf_map_lookup_elem(&shared_map, &k);
	return choose(1) + helper(2);
}

char _license[] SEC("license") = "GPL";
