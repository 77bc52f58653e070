#include "../common.h"
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(key_size, 4); __uint(value_size, 4);  };
static struct { __uint(type, 1); } m SEC(".maps");
SEC("xdp") int entry(void *ctx) { int k = 0; return bpf_map_lookup_elem(&m, &k) != 0; }
