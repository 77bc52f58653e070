#include "../common.h"
int x SEC("nowhere") = 1;
SEC("xdp") int prog(void *ctx) { return x; }
