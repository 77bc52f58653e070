#include "../common.h"
SEC("xdp/other") __noinline int other(void *ctx) { return bpf_get_prandom_u32(); }
SEC("xdp") int prog(void *ctx) { return other(ctx) + 1; }
