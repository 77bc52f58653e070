#include "../common.h"
int __attribute__((address_space(1))) x = 1;
SEC("xdp") int prog(void *ctx) { return x; }
