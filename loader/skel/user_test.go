package skel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/skel/internal/features"
)

// asUser is set in the child process that loads a skeleton and prints the result.
const asUser = "BPFREPLAY_TEST_AS_USER"

// Any user with the capabilities may load a skeleton. Without CAP_PERFMON our error names the
// missing capability, which the kernel's does not.
func TestAsUser(t *testing.T) {
	if os.Getenv(asUser) != "" {
		s, err := features.OpenFeatures()
		if err == nil {
			s.PinPath = os.Getenv(asUser)
			err = s.Load()
		}
		fmt.Printf("loaded: %v, %v\n", err, s.Close())
		return
	}
	need.Root(t)
	need.BPF(t)
	dir := pins(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		caps []uintptr
		want string
	}{
		{[]uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}, "loaded: <nil>, <nil>"},
		{[]uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, "program filter: PROG_LOAD: EPERM"}, // XDP
		{[]uintptr{unix.CAP_BPF}, "this process does not have it"},
		{nil, "loader program: MAP_CREATE: EPERM"},
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestAsUser$")
		cmd.Env, cmd.Dir = append(os.Environ(), asUser+"="+dir), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: test.caps}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("capabilities %v: %v, no %q in\n%s", test.caps, err, test.want, out)
		}
	}
}
