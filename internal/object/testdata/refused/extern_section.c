#include "../common.h"
extern int x SEC(".somewhere");
SEC("xdp") int prog(void *ctx) { return x; }
