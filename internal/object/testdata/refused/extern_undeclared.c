#include "../common.h"
extern int x;
SEC("xdp") int prog(void *ctx) { return x; }
