package skelgen

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// A kernel module loads and attaches its skeleton, sees what the program writes, and leaves nothing
// behind. BPFREPLAY_SKEL_MODULE names testdata/module/skel_kmod.ko, built for the running kernel by
// testdata/module/build.sh; docs/skeletons.md has the commands.
func TestModule(t *testing.T) {
	path := os.Getenv("BPFREPLAY_SKEL_MODULE")
	if path == "" {
		t.Skip("BPFREPLAY_SKEL_MODULE names no module")
	}
	need.Root(t)
	need.BPF(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := ids(t)
	read(t) // what was said before
	fds := fdCount(t)
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		t.Fatalf("load the module: %v\n%s", err, read(t))
	}
	if now := fdCount(t); now != fds {
		t.Errorf("%d file descriptors, %d before: the module has left some in this process", now, fds)
	}
	if during := ids(t); slices.Equal(during, before) {
		t.Error("the module has loaded nothing")
	}
	if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil {
		t.Fatal(err)
	}
	if err := unix.DeleteModule("skel_kmod", 0); err != nil {
		t.Fatal(err)
	}
	said := read(t)
	for _, want := range []string{
		"skel_kmod: broken: -13, program count: PROG_LOAD: EACCES", "skel_kmod: attached, text initial",
		"version is right: 1, weak symbol: 0",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the kernel has not said %q:\n%s", want, said)
		}
	}
	_, runs, _ := strings.Cut(said, "skel_kmod: runs ")
	if runs, _, _ = strings.Cut(runs, ","); runs <= "1000" || len(runs) != 4 {
		t.Errorf("runs %q, 1000 before:\n%s", runs, said)
	}
	for _, bad := range []string{"BUG", "WARNING", "Oops", "Call Trace"} {
		if strings.Contains(said, bad) {
			t.Errorf("the kernel complains:\n%s", said)
		}
	}
	for range 100 { // programs and maps are freed after a grace period
		if slices.Equal(ids(t), before) {
			return
		}
		if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("left in the kernel: %v, before %v", ids(t), before)
}

// ids are those of all programs and maps.
func ids(t *testing.T) []uint32 {
	t.Helper()
	programs, err1 := bpfsys.IDs(bpfsys.ProgGetNextID)
	maps, err2 := bpfsys.IDs(bpfsys.MapGetNextID)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(programs, maps)
}

func fdCount(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// read is what the kernel has said since the last read.
func read(t *testing.T) string {
	t.Helper()
	const readClear = 4 // SYSLOG_ACTION_READ_CLEAR
	buf := make([]byte, 1<<20)
	n, err := unix.Klogctl(readClear, buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
