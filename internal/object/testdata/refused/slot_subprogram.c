#include "../common.h"
__noinline int sub(void *ctx) { return 0; }
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __uint(key_size, 4); __array(values, int (void *)); } m SEC(".maps") = { .values = { (void *)&sub } };
