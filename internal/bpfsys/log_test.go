package bpfsys

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

// TestLongLog: the reason is there, also if the kernel drops the end of a log that does not fit.
func TestLongLog(t *testing.T) {
	const reason = "The sequence of 8193 jumps is too complex.\n"
	const end = reason + "processed 5 insns (limit 1000000) max_states_per_insn 0\n\n"
	long := strings.Repeat("0: (b7) r0 = 0\n", LogSize/10) + end
	for name, write := range map[string]func(log []byte, text string){
		"before 6.4": func(log []byte, text string) { copy(log[:len(log)-1], text) },
		"since 6.4":  func(log []byte, text string) { copy(log, text[max(0, len(text)-len(log)+1):]) },
	} {
		var levels []uint32
		log, err := WithLog(func(level uint32, log []byte) error {
			levels = append(levels, level)
			switch {
			case level == logInsns:
				write(log, long)
				return unix.ENOSPC
			case log != nil:
				write(log, end)
			}
			return unix.EFAULT
		})
		assert.ErrorIs(t, err, unix.EFAULT, name)
		assert.Equal(t, LastLine(log)+"\n", reason, name)
		assert.Equal(t, len(levels), map[string]int{"before 6.4": 3, "since 6.4": 2}[name], name)
	}
}

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
