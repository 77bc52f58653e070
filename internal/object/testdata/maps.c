// Every key of a BTF map definition.
#include "common.h"

struct key {
	__u32 a;
	__u16 b[2];
};

struct value {
	__u64 n;
	char name[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10);
	__type(key, struct key);
	__type(value, struct value);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE);
	__uint(numa_node, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 3);
	__uint(max_entries, 2);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__type(value, __u32);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
} bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1000);
} ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct value);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, int);
	__array(values, struct inner);
} outer_array SEC(".maps") = {
	.values = { [3] = &inner_a, [1] = &inner_b },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, int);
	__array(values, struct inner);
} outer_hash SEC(".maps") = {
	.values = { &inner_b },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__uint(key_size, 8);
	__array(values, struct inner);
} outer_empty SEC(".maps");

struct ctx;
int tail_1(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int (void *));
} jumps SEC(".maps") = {
	.values = { [2] = (void *)&tail_1 },
};

SEC("xdp") int tail_1(void *ctx)
{
	__u32 k = 0;

	return bpf_map_lookup_elem(&sized, &k) != 0;
}

SEC("xdp") int entry(void *ctx)
{
	struct key k = {};

	bpf_tail_call(ctx, &jumps, 2);
	return bpf_map_lookup_elem(&typed, &k) || bpf_map_lookup_elem(&outer_array, &k);
}

char _license[] SEC("license") = "Dual BSD/GPL";
