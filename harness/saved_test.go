package harness

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// sayings are what a guest is asked in these tests.
const sayings = "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | cksum; date +%s"

// copies makes sources of guests that share a cache which nothing else uses.
type copies struct {
	t      *testing.T
	agent  string
	kernel *vmimage.Kernel
	cache  string
	shell  Command

	mu    sync.Mutex
	notes []string
}

func newCopies(t *testing.T) *copies {
	t.Helper()
	need.QEMU(t)
	c := &copies{t: t, kernel: need.Kernel(t, "6.12"), cache: t.TempDir(), agent: filepath.Join(t.TempDir(), "bpfreplay")}
	c.shell = Command{Program: need.Program(t, "sh"), Args: []string{"sh", "-c", sayings}, Dir: "/"}
	for _, p := range []string{"cat", "cksum", "head", "date"} {
		c.shell.With = append(c.shell.With, need.Program(t, p))
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", c.agent, "../cmd/bpfreplay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	assert.NilError(t, err, "%s", out)
	return c
}

// source returns a source as a run of its own would have it.
func (c *copies) source() *source {
	c.t.Helper()
	store, err := vmimage.Open(vmimage.Options{Cache: c.cache})
	assert.NilError(c.t, err)
	c.t.Cleanup(func() { store.Close() })
	files, err := c.shell.files(arch.Native)
	assert.NilError(c.t, err)
	return &source{
		store: store, kernel: c.kernel, initrd: filepath.Join(c.t.TempDir(), "initramfs.cpio"),
		initramfs: vmimage.Initramfs{
			Base:    []vmimage.File{{Path: "/init", Mode: 0o755, Host: c.agent}},
			Modules: agent.BootModules,
			Extra:   files,
		},
		ready: agent.Ready{Behave: true, Engines: []string{"direct", "trace", "replay"}},
		note: func(line string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.notes = append(c.notes, line)
		},
	}
}

func (c *copies) config() vm.Config {
	return vm.Config{Kernel: c.kernel.BootPath, Params: params, MemoryMiB: guestMemory, CPUs: guestCPUs,
		Accelerator: vm.TCG, BootTimeout: DefaultBootTimeout, SilenceTimeout: DefaultCaseTimeout}
}

// start starts a guest, and returns what it says of itself: ids that nobody else should have.
func (c *copies) start(ctx context.Context, s *source) (restored bool, ids []string, err error) {
	began := time.Now()
	m, _, err := s.start(ctx, c.config())
	if err != nil {
		return false, nil, err
	}
	defer m.vm.Close()
	var out bytes.Buffer
	shell := c.shell
	shell.Stdout, shell.Stderr = &out, &out
	session, err := shell.session(arch.Native)
	if err != nil {
		return false, nil, err
	}
	err = m.vm.Do(ctx, func(*vm.Port) error {
		_, err := session.talk(ctx, m.conn)
		return err
	})
	now := time.Now()
	lines := strings.Fields(out.String())
	if err == nil && len(lines) > 0 {
		seconds, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
		assert.Check(c.t, err)
		// It was set at some time since then, and may go a little faster.
		early, late := began.Add(-2*time.Second).Unix(), now.Add(2*time.Second).Unix()
		assert.Check(c.t, early <= seconds && seconds <= late, "the guest's clock is not between %d and %d; it says:\n%s", early, late, out.String())
	}
	return m.restored, lines, err
}

func TestSavedGuests(t *testing.T) {
	c := newCopies(t)

	// Two runs at once save it once, and what they restore are not twins.
	var both errgroup.Group
	sources := []*source{c.source(), c.source()}
	ids := make([][]string, len(sources))
	for i, s := range sources {
		both.Go(func() error {
			restored, said, err := c.start(t.Context(), s)
			assert.Check(t, restored)
			ids[i] = said
			return err
		})
	}
	assert.NilError(t, both.Wait())
	assert.Assert(t, (sources[0].saving == 0) != (sources[1].saving == 0), "saved by %s and %s", sources[0].saving, sources[1].saving)
	assert.DeepEqual(t, c.notes, []string(nil))
	assert.Equal(t, len(ids[0]), len(ids[1]))
	for i, what := range []string{"uuid", "boot id"} {
		assert.Assert(t, len(ids[0][i]) == 36 && ids[0][i] != ids[1][i], "%s: %v and %v", what, ids[0], ids[1])
	}
	random := len(ids[0]) - 3
	assert.Assert(t, ids[0][random] != ids[1][random], "/dev/urandom: %v and %v", ids[0], ids[1])
	saved, err := filepath.Glob(filepath.Join(c.cache, "saved", "*"))
	assert.NilError(t, err)
	assert.Equal(t, len(saved), 1)

	// One that is damaged is made anew, once, and that is said.
	flipByte(t, filepath.Join(saved[0], "devices"))
	s := c.source()
	restored, _, err := c.start(t.Context(), s)
	assert.NilError(t, err)
	assert.Assert(t, restored)
	assert.Assert(t, s.saving > 0)
	assert.Equal(t, len(c.notes), 1)
	assert.Assert(t, is.Contains(c.notes[0], "the saved guest is made anew: "))
	assert.Assert(t, is.Contains(c.notes[0], "devices: it was changed"))
	restored, _, err = c.start(t.Context(), s)
	assert.NilError(t, err)
	assert.Assert(t, restored)
	assert.Equal(t, len(c.notes), 1)

	// A source that has made it anew already boots.
	c.notes = nil
	flipByte(t, filepath.Join(saved[0], "devices"))
	restored, _, err = c.start(t.Context(), s)
	assert.NilError(t, err)
	assert.Assert(t, !restored)
	assert.Equal(t, len(c.notes), 1)
	assert.Assert(t, is.Contains(c.notes[0], "guests are booted, as those saved do not restore: "))
	_, err = os.Stat(saved[0])
	assert.ErrorIs(t, err, os.ErrNotExist)

	// What is not asked for is not made.
	s = c.source()
	s.cold = true
	m, _, err := s.start(t.Context(), c.config())
	assert.NilError(t, err)
	assert.Assert(t, !m.restored)
	m.vm.Close()
	_, err = os.Stat(saved[0])
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// What is saved is tried once. One that hangs is saved anew, twice, and then guests are booted.
func TestSavedGuestsAreVerified(t *testing.T) {
	c := newCopies(t)
	s := c.source()
	tries := 0
	s.verify = func(ctx context.Context, config vm.Config, dir string) error {
		tries++
		if tries == 1 {
			// Napping for ever is what a guest without timers does.
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, _, err := restoreWith(ctx, config, dir, 1<<30)
			return err
		}
		return verifySaved(ctx, config, dir)
	}
	restored, _, err := c.start(t.Context(), s)
	assert.NilError(t, err)
	assert.Assert(t, restored)
	assert.Equal(t, tries, 2)
	assert.DeepEqual(t, c.notes, []string(nil))

	s = c.source()
	s.ready = agent.Ready{Behave: true} // another guest
	s.verify = func(context.Context, vm.Config, string) error { tries++; return errors.New("it hangs") }
	tries = 0
	m, _, err := s.start(t.Context(), c.config())
	assert.NilError(t, err)
	assert.Assert(t, !m.restored)
	assert.NilError(t, m.vm.Close())
	assert.Equal(t, tries, saveTries)
	assert.DeepEqual(t, c.notes, []string{"guests are booted, as none can be saved: what is saved does not go on: it hangs"})
}

// Where there is no room for a saved guest, guests are booted, and nothing is left of
// the attempt.
func TestSavedGuestsFullDisk(t *testing.T) {
	c := newCopies(t)
	if err := unix.Mount("tmpfs", c.cache, "tmpfs", 0, "size=128m"); err != nil {
		t.Skipf("no small disk to be had: %v", err)
	}
	defer unix.Unmount(c.cache, unix.MNT_DETACH)
	m, _, err := c.source().start(t.Context(), c.config())
	assert.NilError(t, err)
	assert.Assert(t, !m.restored)
	assert.NilError(t, m.vm.Close())
	assert.Equal(t, len(c.notes), 1)
	assert.Assert(t, is.Contains(c.notes[0], "guests are booted, as none can be saved: the disk with the cache"))
	for _, dir := range []string{"tmp", "saved"} {
		left, err := os.ReadDir(filepath.Join(c.cache, dir))
		assert.NilError(t, err)
		assert.Equal(t, len(left), 0, "%v", left)
	}
}

// A guest that does not boot is not tried again, and not saved.
func TestSavedGuestThatPanics(t *testing.T) {
	c := newCopies(t)
	config := c.config()
	config.Params = append(config.Params, "init=/nonexistent", "rdinit=/nonexistent")
	_, _, err := c.source().start(t.Context(), config)
	ending, ok := err.(*vm.Ending)
	assert.Assert(t, ok, "%v", err)
	assert.Equal(t, ending.Reason, vm.Panicked)
	left, err := os.ReadDir(filepath.Join(c.cache, "saved"))
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}

func flipByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	assert.NilError(t, err)
	data[0] ^= 0xff
	assert.NilError(t, os.WriteFile(path, data, 0o644))
}
