package main

import (
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// Programs in a guest find the usual environment, with copied files and with this machine's root.
func TestUserland(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	t.Chdir(root(t))
	script, err := filepath.Abs("cmd/bpfreplay/testdata/userland.sh")
	assert.NilError(t, err)
	var with []string
	for _, name := range strings.Fields("bash cat cut getent head hostname id mkdir mount pivot_root sh touch uname unshare") {
		with = append(with, "--with", need.Program(t, name))
	}
	with = append(with, "--with", script)
	for name, flags := range map[string][]string{"files": with, "host": {"--rootfs", "host"}} {
		t.Run(name, func(t *testing.T) {
			if name == "host" {
				need.Root(t)
				if _, err := guestexec.FindRootServer(); err != nil {
					t.Skip(err)
				}
			}
			args := append([]string{"exec", "--accel", "tcg"}, flags...)
			out, errs, status := outcome(t, command, append(args, "--", "bash", script)...)
			assert.Check(t, is.Equal(status, 0))
			assert.Check(t, is.Equal(errs, "to stderr\n"))
			lines := strings.Split(strings.TrimSpace(out), "\n")
			assert.Assert(t, is.Len(lines, 12), out)
			assert.Check(t, is.Contains(lines[5], "localhost"))
			lines[5] = "localhost"
			assert.DeepEqual(t, lines, []string{
				"to stdout", "piped", "substituted", "shared", "host guest", "localhost", "root", "user root",
				"namespaces fine", "root fine", "configuration fine", "modules fine",
			})
		})
	}
}
