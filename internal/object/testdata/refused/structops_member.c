#include "../common.h"
struct ops { void *data; };
SEC("struct_ops") int prog(void *ctx) { return 0; }
SEC(".struct_ops") struct ops o = { .data = (void *)prog };
