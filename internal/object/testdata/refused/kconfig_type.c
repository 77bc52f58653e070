#include "../common.h"
extern struct { int a; } CONFIG_X __kconfig;
SEC("xdp") int prog(void *ctx) { return CONFIG_X.a; }
