package accel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func fakeChooser(t *testing.T, dir string, result error) (c chooser, probes *int) {
	t.Helper()
	probes = new(int)
	return chooser{
		probe: func(context.Context) error {
			*probes++
			return result
		},
		bootID:   func() (string, error) { return "boot-1", nil },
		stateDir: dir,
	}, probes
}

var errSlow = &slowKVMError{took: 45 * time.Millisecond}

func TestChoose(t *testing.T) {
	noDevice := &os.PathError{Op: "open", Path: kvmDevice, Err: os.ErrNotExist}
	for name, test := range map[string]struct {
		want   Accelerator
		probe  error
		choice Choice
		err    string
		probes int
	}{
		"tcg":              {want: TCG, choice: Choice{TCG, "asked for"}},
		"kvm":              {want: KVM, choice: Choice{KVM, "asked for"}, probes: 1},
		"kvm, slow":        {want: KVM, probe: errSlow, err: "KVM is not usable on this host: a probe guest of 100000 loop iterations took 45ms", probes: 1},
		"kvm, no device":   {want: KVM, probe: noDevice, err: "KVM is not usable on this host: open /dev/kvm: file does not exist", probes: 1},
		"auto":             {want: Auto, choice: Choice{KVM, "a probe guest ran at full speed"}, probes: 1},
		"auto, slow":       {want: Auto, probe: errSlow, choice: Choice{TCG, "KVM is not usable: " + errSlow.Error()}, probes: 1},
		"auto, no device":  {want: Auto, probe: noDevice, choice: Choice{TCG, "KVM is not usable: open /dev/kvm: file does not exist"}, probes: 1},
		"empty means auto": {want: "", choice: Choice{KVM, "a probe guest ran at full speed"}, probes: 1},
		"unknown":          {want: "hvf", err: `unknown accelerator "hvf": use auto, kvm or tcg`},
	} {
		t.Run(name, func(t *testing.T) {
			c, probes := fakeChooser(t, t.TempDir(), test.probe)
			choice, err := c.choose(t.Context(), test.want)
			assert.Equal(t, *probes, test.probes)
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				assert.Equal(t, errors.Is(err, ErrUnusable), test.want == KVM)
				return
			}
			assert.NilError(t, err)
			assert.DeepEqual(t, choice, test.choice)
		})
	}
}

func TestVerdictIsRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there yet")
	c, probes := fakeChooser(t, dir, errSlow)
	for range 3 {
		choice, err := c.choose(t.Context(), Auto)
		assert.NilError(t, err)
		assert.DeepEqual(t, choice, verdict(errSlow))
	}
	assert.Equal(t, *probes, 1)
	entries, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 1, "something besides the verdict: %v", entries)

	// After a reboot the host may run on another host.
	c.bootID = func() (string, error) { return "boot-2", nil }
	_, err = c.choose(t.Context(), Auto)
	assert.NilError(t, err)
	assert.Equal(t, *probes, 2)

	// KVM by name probes again, and stores the new verdict.
	c.probe = func(context.Context) error { return nil }
	_, err = c.choose(t.Context(), KVM)
	assert.NilError(t, err)
	if openable(kvmDevice) {
		choice, ok := c.recall()
		assert.Assert(t, ok)
		assert.Equal(t, choice.Accelerator, KVM)
	}
}

// A probe that exceeds its own deadline has a verdict.
func TestOverdueVerdictIsRemembered(t *testing.T) {
	c, probes := fakeChooser(t, t.TempDir(), fmt.Errorf("it did not end: %w", context.DeadlineExceeded))
	for range 2 {
		choice, err := c.choose(t.Context(), Auto)
		assert.NilError(t, err)
		assert.Equal(t, choice.Accelerator, TCG)
	}
	assert.Equal(t, *probes, 1)
}

func TestVerdictIsNotRemembered(t *testing.T) {
	t.Run("no device", func(t *testing.T) {
		c, probes := fakeChooser(t, t.TempDir(), os.ErrPermission)
		for range 2 {
			_, err := c.choose(t.Context(), Auto)
			assert.NilError(t, err)
		}
		assert.Equal(t, *probes, 2)
	})
	t.Run("no boot id", func(t *testing.T) {
		c, probes := fakeChooser(t, t.TempDir(), errSlow)
		c.bootID = func() (string, error) { return "", os.ErrNotExist }
		for range 2 {
			_, err := c.choose(t.Context(), Auto)
			assert.NilError(t, err)
		}
		assert.Equal(t, *probes, 2)
	})
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		assert.NilError(t, os.WriteFile(file, nil, 0o644))
		for _, dir := range []string{"", file} {
			c, probes := fakeChooser(t, dir, errSlow)
			for range 2 {
				choice, err := c.choose(t.Context(), Auto)
				assert.NilError(t, err)
				assert.Equal(t, choice.Accelerator, TCG)
			}
			assert.Equal(t, *probes, 2)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := fakeChooser(t, t.TempDir(), nil)
		c.probe = func(ctx context.Context) error {
			cancel()
			return ctx.Err()
		}
		for _, want := range []Accelerator{Auto, KVM} {
			_, err := c.choose(ctx, want)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Assert(t, !errors.Is(err, ErrUnusable))
		}
		entries, err := os.ReadDir(c.stateDir)
		assert.NilError(t, err)
		assert.Equal(t, len(entries), 0)
	})
}

func TestDamagedVerdictIsIgnored(t *testing.T) {
	for _, content := range []string{
		"", "{", "null", "[]", `{"boot_id": "boot-1"}`,
		`{"boot_id": "boot-1", "accelerator": "tcg"}`,
		`{"boot_id": "boot-1", "accelerator": "auto", "reason": "x"}`,
		`{"boot_id": "boot-0", "accelerator": "tcg", "reason": "another boot"}`,
	} {
		c, probes := fakeChooser(t, t.TempDir(), errSlow)
		assert.NilError(t, os.WriteFile(c.file(), []byte(content), 0o644))
		choice, err := c.choose(t.Context(), Auto)
		assert.NilError(t, err)
		assert.DeepEqual(t, choice, verdict(errSlow))
		assert.Equal(t, *probes, 1, content)
	}
}

func TestParseAccelerator(t *testing.T) {
	for _, name := range []string{"auto", "kvm", "tcg"} {
		a, err := Parse(name)
		assert.NilError(t, err)
		assert.Equal(t, string(a), name)
	}
	_, err := Parse("KVM")
	assert.ErrorContains(t, err, `unknown accelerator "KVM"`)
}

func TestSlowKVMErrorSaysWhy(t *testing.T) {
	assert.Assert(t, is.Contains(errSlow.Error(), "took 45ms, more than 5ms"))
}

func TestDefaultCPUs(t *testing.T) {
	assert.Equal(t, TCG.CPUs(4), 1)
	assert.Equal(t, KVM.CPUs(4), 4)
	assert.Equal(t, KVM.CPUs(64), MostCPUs)
}
