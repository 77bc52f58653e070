#include "../common.h"
SEC(".struct_ops") struct { int a; } o = { .a = 1 };
