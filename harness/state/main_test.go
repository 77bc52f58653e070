package state

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// TestMain fails if the tests left file descriptors of BPF objects open.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := need.OpenBPF(); code == 0 && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "file descriptors left open:", strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}
