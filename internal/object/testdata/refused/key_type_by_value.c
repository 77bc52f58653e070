#include "../common.h"
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(key_size, 4); __uint(value_size, 4);  };
struct { __uint(type, 1); int key; } m SEC(".maps");
