#include "../common.h"
struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
struct bpf_map_def SEC("maps") old = { .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 4, .max_entries = 1 };
SEC("xdp") int entry(void *ctx) { int k = 0; return bpf_map_lookup_elem(&old, &k) != 0; }
