// No program, no licence.
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 5);
	__type(key, __u64);
	__type(value, __u64);
} lru SEC(".maps");
