#include "../common.h"
static int prog(void *ctx) { return 0; }
SEC("xdp") __attribute__((used)) static int entry(void *ctx) { return prog(ctx); }
char _license[] SEC("license") = "GPL";
