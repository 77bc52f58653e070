// One half of linked.o: a weak function that the other half overrides, and a
// static function and a static variable whose names the other half has too.
#include "common.h"

static volatile int state = 1;
extern int shared_count;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} shared_map SEC(".maps");

static __noinline int helper(int n) { return n + state; }
__weak __noinline int choose(int n) { return helper(n) + shared_count; }

SEC("tc") int prog_a(struct __sk_buff *ctx)
{
	int k = 0;

	bpf_map_lookup_elem(&shared_map, &k);
	return choose(1) + helper(2);
}

char _license[] SEC("license") = "GPL";
