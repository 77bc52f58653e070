package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// saveGuest boots a test guest, saves it when it is ready, and returns the arguments for Restore.
func saveGuest(t *testing.T, config Config) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	config.SaveDir = dir
	guest, err := Start(t.Context(), config)
	assert.NilError(t, err)
	defer guest.Close()
	ready(t, guest)
	_, err = ask(guest.Port(), "log before it was saved")
	assert.NilError(t, err)
	assert.NilError(t, guest.Save(t.Context()))
	assert.Equal(t, guest.Ending().Reason, Closed)
	// A restore needs neither file.
	config.Kernel, config.Initrd = "/nonexistent/kernel", "/nonexistent/initrd"
	return config, dir
}

// echo checks that the guest answers.
func echo(ctx context.Context, guest *VM, text string) error {
	return guest.Do(ctx, func(port *Port) error {
		line, err := ask(port, "echo "+text)
		if err == nil && line != text {
			err = fmt.Errorf("guest says %q, not %q", line, text)
		}
		return err
	})
}

func TestRestore(t *testing.T) {
	config, dir := saveGuest(t, guestConfig(t))
	restore := func(t *testing.T, config Config) *VM {
		t.Helper()
		nothingLeft(t)
		guest, err := Restore(t.Context(), config, dir)
		assert.NilError(t, err)
		t.Cleanup(func() { assert.NilError(t, guest.Close()) })
		assert.Equal(t, guest.BootTime(), time.Duration(0))
		assert.NilError(t, echo(t.Context(), guest, "here I am"))
		assert.Assert(t, guest.BootTime() > 0)
		return guest
	}

	t.Run("powers off", func(t *testing.T) {
		config := config
		config.ConsolePath = filepath.Join(t.TempDir(), "console.log")
		guest := restore(t, config)
		_, err := ask(guest.Port(), "log WARNING: CPU: 0 PID: 1 at lib/test.c:1 test+0x1/0x2")
		assert.NilError(t, err)
		fmt.Fprintln(guest.Port(), "poweroff")
		ending := guest.Wait()
		assert.Equal(t, ending.Reason, PoweredOff, ending)
		assert.DeepEqual(t, ending.Splats, []Splat{{"warning", "WARNING: CPU: 0 PID: 1 at lib/test.c:1 test+0x1/0x2"}})
		console, err := os.ReadFile(config.ConsolePath)
		assert.NilError(t, err)
		for _, want := range []string{"Linux version ", "before it was saved", "lib/test.c:1"} {
			assert.Equal(t, strings.Count(string(console), want), 1, "%s in\n%s", want, console)
		}
	})
	t.Run("panics", func(t *testing.T) {
		guest := restore(t, config)
		ending := endingOf(t, guest.Do(t.Context(), func(port *Port) error {
			_, err := ask(port, "crash")
			return err
		}))
		assert.Equal(t, ending.Reason, Panicked, ending)
		assert.Assert(t, is.Contains(ending.Cause, "sysrq triggered crash"))
	})
	t.Run("hangs", func(t *testing.T) {
		guest := restore(t, config)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ending := endingOf(t, guest.Do(ctx, func(port *Port) error {
			_, err := ask(port, "sleep")
			return err
		}))
		assert.Equal(t, ending.Reason, Overdue, ending)
		assert.Assert(t, is.Contains(ending.Cause, "NMI found it at "))
	})
	t.Run("many, some at once", func(t *testing.T) {
		nothingLeft(t)
		var all errgroup.Group
		for worker := range 2 {
			all.Go(func() error {
				for i := range 10 {
					guest, err := Restore(t.Context(), config, dir)
					if err != nil {
						return err
					}
					err = echo(t.Context(), guest, fmt.Sprintf("%d of %d", i, worker))
					if err := errors.Join(err, guest.Close()); err != nil {
						return err
					}
				}
				return nil
			})
		}
		assert.NilError(t, all.Wait())
	})
	t.Run("is cancelled", func(t *testing.T) {
		nothingLeft(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("no more"))
		_, err := Restore(ctx, config, dir)
		assert.ErrorContains(t, err, "no more")
		assert.Assert(t, !errors.As(err, new(*RestoreError)), "it says nothing of what was saved")
	})
	t.Run("other machine", func(t *testing.T) {
		nothingLeft(t)
		config := config
		config.MemoryMiB = 384
		_, err := Restore(t.Context(), config, dir)
		failed(t, err, "ize") // QEMU's message about a file that is too small, or about the memory's size
	})
	t.Run("saved while it waits", func(t *testing.T) {
		guest := restore(t, config)
		assert.ErrorContains(t, guest.Save(t.Context()), "its memory is not in a file")
		assert.NilError(t, echo(t.Context(), guest, "still here"))
	})

	// The remaining tests damage the saved guest.
	for _, name := range []string{savedRecordName, savedDevicesName, savedConsoleName, savedMemoryName} {
		t.Run("damaged "+name, func(t *testing.T) {
			nothingLeft(t)
			path := filepath.Join(dir, name)
			undamaged, err := os.Stat(path)
			assert.NilError(t, err)
			flip(t, path)
			_, err = Restore(t.Context(), config, dir)
			failed(t, err, name)
			flip(t, path)
			assert.NilError(t, os.Chtimes(path, time.Time{}, undamaged.ModTime()))
			guest, err := Restore(t.Context(), config, dir)
			assert.NilError(t, err)
			assert.NilError(t, guest.Close())
			assert.NilError(t, os.Rename(path, path+".old"))
			_, err = Restore(t.Context(), config, dir)
			failed(t, err, name)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			assert.NilError(t, os.Rename(path+".old", path))
		})
	}
}

// failed checks that a guest could not be restored, and that the error says why.
func failed(t *testing.T, err error, why string) {
	t.Helper()
	var restore *RestoreError
	assert.Assert(t, errors.As(err, &restore), "%v", err)
	assert.ErrorContains(t, err, why)
}

// flip inverts the first byte of a file; a second call restores it.
func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	assert.NilError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 0)
	assert.NilError(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, 0)
	assert.NilError(t, err)
}

// QEMU refuses intact devices that another machine has saved.
func TestRestoreWrongState(t *testing.T) {
	config := guestConfig(t)
	nothingLeft(t)
	dir := t.TempDir()
	memory := filepath.Join(dir, savedMemoryName)
	for path, data := range map[string]string{
		savedDevicesName: "not the state of a machine",
		savedConsoleName: "",
		savedRecordName: fmt.Sprintf(`{"format": 1, "memory": %d, "modified": "2020-01-01T00:00:00Z", "devices": %q, "console": %q}`,
			256<<20, digest([]byte("not the state of a machine")), digest(nil)),
	} {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, path), []byte(data), 0o644))
	}
	assert.NilError(t, os.WriteFile(memory, nil, 0o644))
	assert.NilError(t, os.Truncate(memory, 256<<20))
	assert.NilError(t, os.Chtimes(memory, time.Time{}, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
	_, err := Restore(t.Context(), config, dir)
	failed(t, err, "QEMU failed")
}

// A guest with two processors continues with both.
func TestRestoreTwoProcessors(t *testing.T) {
	config := guestConfig(t)
	config.CPUs = 2
	config, dir := saveGuest(t, config)
	nothingLeft(t)
	for range 3 {
		guest, err := Restore(t.Context(), config, dir)
		assert.NilError(t, err)
		err = errors.Join(echo(t.Context(), guest, "both"), guest.Close())
		assert.NilError(t, err)
	}
}

func TestSaveFails(t *testing.T) {
	config := guestConfig(t)
	nothingLeft(t)

	// A full disk is detected before the guest needs the memory.
	full := t.TempDir()
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=64m"); err != nil {
		t.Logf("no small disk to be had: %v", err)
	} else {
		defer unix.Unmount(full, unix.MNT_DETACH)
		config.SaveDir = full
		_, err := Start(t.Context(), config)
		assert.ErrorIs(t, err, unix.ENOSPC)
	}

	config.SaveDir = t.TempDir()
	guest, err := Start(t.Context(), config)
	assert.NilError(t, err)
	ready(t, guest)
	_, err = ask(guest.Port(), "crash")
	ending := endingOf(t, err)
	assert.Equal(t, ending.Reason, Panicked)
	err = guest.Save(t.Context())
	assert.Equal(t, endingOf(t, err), ending)
	_, err = Restore(t.Context(), config, config.SaveDir)
	failed(t, err, savedRecordName)
}

func TestSavedKey(t *testing.T) {
	config := guestConfig(t)
	key := func(change func(*Config)) string {
		c := config
		change(&c)
		key, err := c.SavedKey(t.Context())
		assert.NilError(t, err)
		return key
	}
	plain := key(func(*Config) {})
	for name, same := range map[string]func(*Config){
		"once more": func(*Config) {},
		"paths": func(c *Config) {
			c.Kernel, c.Initrd, c.ConsolePath, c.SaveDir = "/elsewhere/k", "/elsewhere/i", "/elsewhere/c", "/elsewhere/s"
		},
		"timeouts": func(c *Config) { c.BootTimeout, c.SilenceTimeout = time.Hour, time.Hour },
		"defaults": func(c *Config) { c.MemoryMiB, c.CPUs, c.Arch = 256, 1, arch.Native },
	} {
		assert.Equal(t, key(same), plain, name)
	}
	full, err := config.withDefaults()
	assert.NilError(t, err)
	qemu, err := full.findQEMU()
	assert.NilError(t, err)
	other := filepath.Join(t.TempDir(), "qemu")
	assert.NilError(t, os.WriteFile(other, []byte("another build"), 0o755))
	link := filepath.Join(t.TempDir(), "link")
	assert.NilError(t, os.Symlink(qemu, link))
	assert.Equal(t, key(func(c *Config) { c.QEMU = link }), plain, "by another name")
	seen := map[string]string{plain: "plain"}
	for name, differs := range map[string]func(*Config){
		"memory":     func(c *Config) { c.MemoryMiB = 257 },
		"processors": func(c *Config) { c.CPUs = 2 },
		"parameter":  func(c *Config) { c.Params = []string{"quiet"} },
		"QEMU":       func(c *Config) { c.QEMU = other },
	} {
		k := key(differs)
		assert.Equal(t, seen[k], "", name)
		seen[k] = name
	}
	c := config
	c.QEMU = "no-such-qemu"
	_, err = c.SavedKey(t.Context())
	assert.Assert(t, errors.As(err, new(*MissingQEMUError)), "%v", err)
}

// endingOf returns the ending that err wraps.
func endingOf(t *testing.T, err error) *Ending {
	t.Helper()
	var ending *Ending
	assert.Assert(t, errors.As(err, &ending), "error: %v", err)
	return ending
}
