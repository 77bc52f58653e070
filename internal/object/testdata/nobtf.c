// Compiled without -g: no BTF at all.
#include "common.h"

int counter;
static __noinline int inc(int n) { return counter += n; }
SEC("socket") int prog(void *ctx) { return inc(1) + inc(2); }
char _license[] SEC("license") = "GPL";
