package guest

import (
	"bytes"
	"context"
	"errors"
	"os"
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

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// sayings is the command that the guests of these tests run.
const sayings = "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | cksum; date +%s"

// copies makes sources that share a cache of their own.
type copies struct {
	t      *testing.T
	agent  string
	kernel *vmimage.Kernel
	cache  string
	shell  []string // the programs that sayings uses

	mu    sync.Mutex
	notes []string
}

func newCopies(t *testing.T) *copies {
	t.Helper()
	need.QEMU(t)
	c := &copies{t: t, kernel: need.Kernel(t, "6.12"), cache: t.TempDir(), agent: need.Agent(t)}
	for _, p := range []string{"sh", "cat", "cksum", "head", "date"} {
		c.shell = append(c.shell, need.Program(t, p))
	}
	return c
}

// source returns a new Source, as each run has one.
func (c *copies) source() *Source {
	c.t.Helper()
	store, err := vmimage.Open(vmimage.Options{Cache: c.cache})
	assert.NilError(c.t, err)
	c.t.Cleanup(func() { store.Close() })
	files, err := initramfs.Programs(arch.Native, "/shell", c.shell...)
	assert.NilError(c.t, err)
	s := &Source{
		Config: Config{Store: store, Kernel: c.kernel, Accelerator: accel.TCG},
		Initrd: filepath.Join(c.t.TempDir(), "initramfs.cpio"),
		Initramfs: vmimage.Initramfs{
			Base:    []initramfs.File{{Path: "/init", Mode: 0o755, Host: c.agent}},
			Modules: wire.BootModules,
			Extra:   files,
		},
		WarmUp: wire.WarmUp{Exercise: true, Engines: []string{"direct", "trace", "replay"}},
	}
	s.Defaults()
	s.Note = func(line string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.notes = append(c.notes, line)
	}
	return s
}

// machine returns the configuration that all guests of these tests have.
func (s *Source) machine() vm.Config {
	c := s.VM(GuestMemoryMiB, GuestCPUs)
	c.SilenceTimeout = time.Minute
	return c
}

// start starts a guest, runs sayings in it and returns its words. The ids among them must differ
// between guests.
func (c *copies) start(ctx context.Context, s *Source) (restored bool, ids []string, err error) {
	began := time.Now()
	m, _, err := s.Start(ctx, s.machine())
	if err != nil {
		return false, nil, err
	}
	defer m.VM.Close()
	var out bytes.Buffer
	err = m.VM.Do(ctx, func(*vm.Port) error {
		err := m.Conn.Send(&wire.Request{Exec: &wire.Command{
			Path: "/shell/bin/" + filepath.Base(c.shell[0]), Args: []string{"sh", "-c", sayings}, Dir: "/",
			Env: []string{"PATH=/shell/bin", "LD_LIBRARY_PATH=/shell/lib"},
		}})
		for err == nil {
			var said wire.Output
			if err = m.Conn.Receive(&said); err == nil {
				out.Write(said.Stdout)
				out.Write(said.Stderr)
				if said.Ended != nil {
					break
				}
			}
		}
		return err
	})
	now := time.Now()
	lines := strings.Fields(out.String())
	if err == nil && len(lines) > 0 {
		seconds, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
		assert.Check(c.t, err)
		// The clock was set after began, and may run a little fast.
		early, late := began.Add(-2*time.Second).Unix(), now.Add(2*time.Second).Unix()
		assert.Check(c.t, early <= seconds && seconds <= late, "the guest's clock is not between %d and %d; it says:\n%s", early, late, out.String())
	}
	return m.Restored, lines, err
}

func TestSavedGuests(t *testing.T) {
	c := newCopies(t)

	// Two concurrent runs save one guest between them, and the two guests restored from it have
	// different ids.
	var both errgroup.Group
	sources := []*Source{c.source(), c.source()}
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

	// A damaged saved guest is saved again, once, with a note.
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

	// A Source that has saved its guest a second time boots guests after the next failure.
	c.notes = nil
	flipByte(t, filepath.Join(saved[0], "devices"))
	restored, _, err = c.start(t.Context(), s)
	assert.NilError(t, err)
	assert.Assert(t, !restored)
	assert.Equal(t, len(c.notes), 1)
	assert.Assert(t, is.Contains(c.notes[0], "guests are booted, as those saved do not restore: "))
	_, err = os.Stat(saved[0])
	assert.ErrorIs(t, err, os.ErrNotExist)

	// With Cold no guest is saved.
	s = c.source()
	s.Cold = true
	m, _, err := s.Start(t.Context(), s.machine())
	assert.NilError(t, err)
	assert.Assert(t, !m.Restored)
	m.VM.Close()
	_, err = os.Stat(saved[0])
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestSavedGuestsAreVerified: each saved guest is restored once. One that hangs is saved again, up
// to saveTries times in all; then guests are booted.
func TestSavedGuestsAreVerified(t *testing.T) {
	c := newCopies(t)
	s := c.source()
	tries := 0
	s.verify = func(ctx context.Context, config vm.Config, dir string) error {
		tries++
		if tries == 1 {
			// A guest without timers never finishes its naps.
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
	s.WarmUp = wire.WarmUp{Exercise: true} // gives the guest another key
	s.verify = func(context.Context, vm.Config, string) error { tries++; return errors.New("it hangs") }
	tries = 0
	m, _, err := s.Start(t.Context(), s.machine())
	assert.NilError(t, err)
	assert.Assert(t, !m.Restored)
	assert.NilError(t, m.VM.Close())
	assert.Equal(t, tries, saveTries)
	assert.DeepEqual(t, c.notes, []string{"guests are booted, as none can be saved: what is saved does not go on: it hangs"})
}

// TestSavedGuestsClock: a guest whose kernel has calibrated its TSC wrongly is not kept.
func TestSavedGuestsClock(t *testing.T) {
	if arch.Native != "amd64" {
		t.Skip("other architectures do not measure it")
	}
	c := newCopies(t)
	s := c.source()
	s.Accelerator = accel.TCG
	s.Params = append(s.Params, "tsc_early_khz=100000", "tsc=reliable")
	m, _, err := s.Start(t.Context(), s.machine())
	assert.NilError(t, err)
	assert.Check(t, !m.Restored)
	assert.NilError(t, m.VM.Close())
	assert.Assert(t, is.Len(c.notes, 1))
	assert.Check(t, is.Contains(c.notes[0], "guests are booted, as none can be saved: what is saved does not go on: its clock is too fast: "))
}

// TestSavedGuestsFullDisk: if the disk has no room for a saved guest, guests are booted, and the
// attempt leaves no files.
func TestSavedGuestsFullDisk(t *testing.T) {
	c := newCopies(t)
	if err := unix.Mount("tmpfs", c.cache, "tmpfs", 0, "size=128m"); err != nil {
		t.Skipf("no small disk to be had: %v", err)
	}
	defer unix.Unmount(c.cache, unix.MNT_DETACH)
	s := c.source()
	m, _, err := s.Start(t.Context(), s.machine())
	assert.NilError(t, err)
	assert.Assert(t, !m.Restored)
	assert.NilError(t, m.VM.Close())
	assert.Equal(t, len(c.notes), 1)
	assert.Assert(t, is.Contains(c.notes[0], "guests are booted, as none can be saved: the disk with the cache"))
	for _, dir := range []string{"tmp", "saved"} {
		left, err := os.ReadDir(filepath.Join(c.cache, dir))
		assert.NilError(t, err)
		assert.Equal(t, len(left), 0, "%v", left)
	}
}

// TestSavedGuestThatPanics: a guest that does not boot is neither tried again nor saved.
func TestSavedGuestThatPanics(t *testing.T) {
	c := newCopies(t)
	s := c.source()
	config := s.machine()
	config.Params = append(config.Params, "init=/nonexistent", "rdinit=/nonexistent")
	_, _, err := s.Start(t.Context(), config)
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
