#include "../common.h"
struct ops { void (*init)(void); };
SEC("xdp") int prog(void *ctx) { return 0; }
SEC(".struct_ops") struct ops o = { .init = (void *)prog };
