package bpfsys

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestLastLine(t *testing.T) {
	for _, c := range []struct{ log, want string }{
		{"", ""},
		{"one\n", "one"},
		{"R1 invalid\nprocessed 3 insns (limit 1000000) max_states_per_insn 0\n", "R1 invalid"},
		{"why\nverification time 5 usec\nstack depth 0\nprocessed 1 insns\n\x00", "why"},
		{"too large\nstack depth max 0\nsubprog 0 (prog) main insns_self 3 insns_total 3 stack 0\nprocessed 3 insns\n", "too large"},
		{"0: (95) exit\nR0 !read_ok\n\nVerification failed: do this\nand that\n", "R0 !read_ok"},
		{"processed 1 insns\n", ""},
		{"subprog argument is wrong\n", "subprog argument is wrong"},
	} {
		assert.Equal(t, LastLine(c.log), c.want, "%q", c.log)
	}
}
