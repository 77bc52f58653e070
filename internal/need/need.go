// Package need lets a test say what it needs of the machine. A test is skipped only if the machine
// lacks one of these things.
//
//	func TestGuest(t *testing.T) {
//		kernel := need.Kernel(t, "6.12")
//		need.QEMU(t)
//		...
//	}
//
// `make test` installs and fetches some of them beforehand (QEMU, kernels, programs) and sets
// BPFREPLAY_TEST_STRICT=1: a test that misses one of these then fails. Whether tests are root and
// may use bpf(2) depends on the machine, and a test that needs that is skipped in either case.
// `make test` runs it in a guest, where BPFREPLAY_TEST_BPF says that bpf(2) must work.
//
// To show what this machine has, run:
//
//	go test -v -run TestMachine ./internal/need
package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/rlimit"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/askbpf"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// StrictEnv names the environment variable that turns skips into failures. `make test` sets it
// after it has provided everything.
const StrictEnv = "BPFREPLAY_TEST_STRICT"

// BPFEnv names the environment variable that tells tests about bpf(2). With BPFMust, a test that
// cannot use bpf(2) fails; guests for tests set this. With BPFUnusable, tests that need bpf(2) skip
// at once: an attempt takes long on a kernel whose BPF is stuck. Without the variable, tests try.
const (
	BPFEnv      = "BPFREPLAY_TEST_BPF"
	BPFMust     = "must"
	BPFUnusable = "unusable"
)

// promised ends a test that lacks something that `make test` provides.
func promised(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv(StrictEnv) != "" {
		tb.Fatalf("%v (and "+StrictEnv+" is set)", err)
	}
	tb.Skipf("%v (`make test` would see to it)", err)
}

// promisedArchs are the architectures whose guests `make test` provides. Tests of others run only
// if their kernels and emulators are there.
var promisedArchs = []string{arch.Native, "arm64"}

// QEMU skips tests that start guests if QEMU is missing, or with -short. The guests are of this
// machine's architecture unless others are named.
func QEMU(tb testing.TB, archs ...string) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("starts a guest, which takes seconds; left out by -short")
	}
	if len(archs) == 0 {
		archs = []string{arch.Native}
	}
	for _, a := range archs {
		of, ok := arch.Find(a)
		if !ok {
			tb.Skipf("no guests are known for %s", a)
		}
		if _, err := exec.LookPath(of.QEMU); err != nil && !slices.Contains(promisedArchs, a) {
			tb.Skipf("needs %s of the package %s, which is for guests that `make test` does not see to", of.QEMU, of.QEMUPackage)
		}
		Program(tb, of.QEMU)
	}
}

// Program returns the path of a program, and skips if it is missing.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		promised(tb, fmt.Errorf("needs %s, which is not in PATH", name))
	}
	return path
}

// Agent builds the command, which is the guests' init.
func Agent(tb testing.TB) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "bpfreplay")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, "github.com/bpfreplay/bpfreplay/cmd/bpfreplay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("the guests' init: %v\n%s", err, out)
	}
	return file
}

// File skips if a file of the machine, such as a C header, is missing.
func File(tb testing.TB, path string) {
	tb.Helper()
	if _, err := os.Stat(path); err != nil {
		promised(tb, fmt.Errorf("needs %s: %w", path, errors.Unwrap(err)))
	}
}

// Kernel returns a kernel of kernels.yaml. It must be in the cache, because tests do not use the
// network.
func Kernel(tb testing.TB, name string) *vmimage.Kernel {
	tb.Helper()
	kernel, err := cached(tb, name)
	if of, _, _ := arch.Cut(name); err != nil && !slices.Contains(promisedArchs, of) {
		tb.Skipf("needs kernel %s, which `make test` does not fetch (`bpfreplay kernels fetch %s` does): %v", name, name, err)
	}
	if err != nil {
		promised(tb, fmt.Errorf("needs kernel %s: %w", name, err))
	}
	return kernel
}

func cached(tb testing.TB, name string) (*vmimage.Kernel, error) {
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Name == name && l.Cached {
			return store.Resolve(tb.Context(), name)
		}
	}
	return nil, errors.New("not in the cache")
}

// Root skips tests unless they run as root.
func Root(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root")
	}
}

// BPF skips tests that load maps and programs if this machine's kernel does not allow it.
func BPF(tb testing.TB) {
	tb.Helper()
	known := os.Getenv(BPFEnv)
	if known == BPFUnusable {
		tb.Skipf("needs bpf(2): unusable, says " + BPFEnv)
	}
	err := bpf()
	if err == nil {
		return
	}
	if known == BPFMust {
		tb.Fatalf("needs bpf(2): %v (and "+BPFEnv+" says that it must work)", err)
	}
	tb.Skipf("needs bpf(2): %v", err)
}

var bpf = sync.OnceValue(func() error {
	if err := askbpf.Ask(askbpf.Patience); err != nil {
		return err
	}
	return rlimit.RemoveMemlock()
})

func init() { askbpf.Child() }

// OpenBPF lists the BPF maps, programs and BTF objects that this process has open.
func OpenBPF() []string {
	return slices.DeleteFunc(openfds.List(), func(fd string) bool {
		return !strings.Contains(fd, "bpf-") && !strings.Contains(fd, "[btf]")
	})
}
