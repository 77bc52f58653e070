// Two maps that want to be pinned, and one that does not.
#include "../../internal/object/testdata/common.h"

#define PINNED(name_)                                 \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);     \
		__uint(max_entries, 2);               \
		__type(key, int);                     \
		__type(value, int);                   \
		__uint(pinning, LIBBPF_PIN_BY_NAME);  \
	} name_ SEC(".maps")

PINNED(p_one);
PINNED(p_two);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, int);
} other SEC(".maps");

char _license[] SEC("license") = "GPL";
