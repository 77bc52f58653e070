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
		{"0: (95) exit\nR0 !read_ok\n\nVerification failed: Register Type Safety\n\nSuggestion:\n  Initialize R0.\n\nprocessed 1 insns\n", "R0 !read_ok"},
		{"0: (95) exit\nR0 !read_ok\nverification time 5 usec\nstack depth 0\nprocessed 1 insns (limit 1000000)\n\n", "R0 !read_ok"},
		{"processed 1 insns\n", ""},
		{"subprog argument is wrong\n", "subprog argument is wrong"},
		{"subprog 1 is wrong\n", "subprog 1 is wrong"},
		{"processed nothing\n", "processed nothing"},
		{"verification time is up\n", "verification time is up"},
	} {
		assert.Equal(t, LastLine(c.log), c.want, "%q", c.log)
	}
}
