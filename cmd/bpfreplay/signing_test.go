package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// signingTests need a kernel that verifies signatures, which the machine seldom has: the matrix of
// errnos, the sweep that changes every 64th byte, revoked keys, weaknesses, and the policy. In a
// guest none of them may be skipped.
var signingTests = []struct{ pkg, run string }{
	{"./internal/replay", "TestMatrix|TestTamper|TestKeysThatGo|TestSignedLoad|TestSignedRefusals|TestSignedLoadRefusesPinnedMaps|" +
		"TestSignedLoadOnOtherThreads|TestSettingsAreBounded|TestStaleDigest|TestRunTwice|TestSameBytesAnotherProgram"},
	{"./internal/replay", "TestSignedIsUnsigned"},
	{"./loader/policy", "TestPolicy"},
}

// TestSigning runs the tests of signing on a kernel of each contract.
func TestSigning(t *testing.T) {
	need.QEMU(t)
	top := root(t)
	bin := t.TempDir()
	for _, kernel := range []string{"6.18", "7.2", "stable"} {
		t.Run(kernel, func(t *testing.T) {
			image := need.Kernel(t, kernel).BootPath
			for _, tests := range signingTests {
				if kernel != "stable" && tests.run == "TestSignedIsUnsigned" {
					continue // the core suite runs on one kernel only
				}
				program := filepath.Join(bin, filepath.Base(tests.pkg)+".test")
				if _, err := os.Stat(program); err != nil {
					build := exec.Command("go", "test", "-c", "-o", program, tests.pkg)
					build.Dir = top
					out, err := build.CombinedOutput()
					assert.NilError(t, err, "%s", out)
				}
				cmd := exec.Command(command, "exec", "--accel", "tcg", "--kernel", image, "--env", need.BPFEnv+"="+need.BPFMust,
					"--with", filepath.Join(top, "selftests/bpf"), "--with", filepath.Join(top, "loader/testdata"), "--",
					program, "-test.v", "-test.run", "^("+tests.run+")$")
				cmd.Dir = filepath.Join(top, tests.pkg)
				out, err := cmd.CombinedOutput()
				assert.NilError(t, err, "%s", out)
				passed := ran.FindAllStringSubmatch(string(out), -1)
				assert.Equal(t, len(passed), len(strings.Split(tests.run, "|")), "%s", out)
				for _, m := range passed {
					assert.Equal(t, m[1], "PASS", "%s", out)
				}
				for _, table := range tables.FindAllString(string(out), -1) {
					t.Log(table)
				}
			}
		})
	}
}

var (
	ran = regexp.MustCompile(`(?m)^--- ([A-Z]+): `)
	// tables matches the output of the matrix and the sweep.
	tables = regexp.MustCompile(`(?m)^ +matrix_test\.go:\d+: (contract .*:\n(?: +.*\n)+|map\[.*)`)
)
