package trace

import (
	"fmt"
	"strings"
)

// Names of flags in include/uapi/linux/bpf.h, by bit and without their prefixes.
var (
	mapFlags = strings.Fields(`NO_PREALLOC NO_COMMON_LRU NUMA_NODE RDONLY WRONLY STACK_BUILD_ID ZERO_SEED RDONLY_PROG
		WRONLY_PROG CLONE MMAPABLE PRESERVE_ELEMS INNER_MAP LINK PATH_FD VTYPE_BTF_OBJ_FD TOKEN_FD SEGV_ON_FAULT
		NO_USER_CONV RB_OVERWRITE`)

	progFlags = strings.Fields(`STRICT_ALIGNMENT ANY_ALIGNMENT TEST_RND_HI32 TEST_STATE_FREQ SLEEPABLE XDP_HAS_FRAGS
		XDP_DEV_BOUND_ONLY TEST_REG_INVARIANTS`)
)

// flagNames names the bits of v.
func flagNames(v uint32, table []string) string {
	var out []string
	for i, n := range table {
		if v&(1<<i) != 0 {
			out = append(out, n)
			v &^= 1 << i
		}
	}
	if v != 0 {
		out = append(out, fmt.Sprintf("%#x", v))
	}
	return strings.Join(out, "|")
}
