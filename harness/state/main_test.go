package state

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain fails if the tests left file descriptors of BPF objects open.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := bpfDescriptors(); code == 0 && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "file descriptors left open:", strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}

// bpfDescriptors lists open BPF maps, programs and BTF objects.
func bpfDescriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var left []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && (strings.Contains(target, "bpf-") || strings.Contains(target, "[btf]")) {
			left = append(left, e.Name()+" "+target)
		}
	}
	return left
}
