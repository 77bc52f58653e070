package skel_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/loader/skel"
	"github.com/bpfreplay/bpfreplay/loader/skel/internal/features"
)

// pins returns a directory in a BPF file system.
func pins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skipf("cannot mount a BPF file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func open(t *testing.T) *features.Features {
	t.Helper()
	s, err := features.OpenFeatures()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.PinPath = pins(t)
	return s
}

func load(t *testing.T, s *features.Features) {
	t.Helper()
	if err := s.Load(); err != nil {
		t.Fatalf("%+v", err)
	}
}

// Before a load, for which no kernel is needed, sections hold the object's initial values.
func TestOpen(t *testing.T) {
	s, err := features.OpenFeatures()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Rodata.Mode; got != features.FeaturesModeMODE_COUNT {
		t.Errorf("mode %d", got)
	}
	if got := skel.String(s.Data.Text[:]); got != "initial" || s.Data.Limit != 100 || s.DataCustom.Custom != 42 {
		t.Errorf("text %q, limit %d, custom %d", got, s.Data.Limit, s.DataCustom.Custom)
	}
	if err := s.Attach(); err == nil || !strings.Contains(err.Error(), "attach program on_enter: it is not loaded") {
		t.Errorf("attach before load: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("load after close: %v", err)
	}
}

// Open refuses a file other than the one that the code was generated with.
func TestOpenOtherFile(t *testing.T) {
	_, err := skel.Open(&skel.Artefact{Object: "x"}, skel.File{Name: "x_bpfel.bpfreplay", Data: []byte("another"), Sum: 1})
	if err == nil || !strings.Contains(err.Error(), "x_bpfel.bpfreplay") || !strings.Contains(err.Error(), "go generate") {
		t.Errorf("error %v", err)
	}
}

// Programs see what was written before the load, their writes show through the same pointers, and
// Close leaves nothing behind.
func TestLoad(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	before := openfds.List()
	s := open(t)
	bss, data := s.Bss, s.Data
	s.Rodata.Pid = uint32(os.Getpid())
	s.Rodata.Mode = features.FeaturesModeMODE_LAST
	s.Data.Limit = 1000
	copy(skel.Bytes(s.Data.Text[:]), "changed\x00")
	s.DataCustom.Custom = -1
	s.Bss.Hits = 5000
	s.Sizes.Events = 1 << 16
	load(t, s)
	if err := s.Load(); err == nil || !strings.Contains(err.Error(), "loaded already") {
		t.Errorf("second load: %v", err)
	}
	if n := s.Maps.Events.MaxEntries(); n != 1<<16 {
		t.Errorf("ring buffer of %d bytes", n)
	}
	if n := s.Maps.Counts.MaxEntries(); n != 8 {
		t.Errorf("counts has %d elements", n)
	}
	if s.Kconfig.LINUX_KERNEL_VERSION < 5<<16 {
		t.Errorf("kernel version %#x", s.Kconfig.LINUX_KERNEL_VERSION)
	}
	if err := s.Attach(); err != nil {
		t.Fatal(err)
	}
	syscall.Getppid()
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if s.Links.OnEnter != nil {
		t.Error("link after Detach")
	}
	hits := atomic.LoadUint64(&bss.Hits)
	if hits <= 5000 {
		t.Errorf("hits %d, 5000 before", hits)
	}
	syscall.Getppid()
	if now := atomic.LoadUint64(&bss.Hits); now != hits {
		t.Errorf("hits went on from %d to %d after Detach", hits, now)
	}
	if s.Bss.Last.Slot.Mode != features.FeaturesModeMODE_LAST || skel.String(s.Bss.Last.Name[:]) != "changed" {
		t.Errorf("last %+v", s.Bss.Last)
	}
	if s.Bss.Last.Number != uint64(s.Kconfig.LINUX_KERNEL_VERSION) {
		t.Errorf("number %d", s.Bss.Last.Number)
	}
	var sum uint64
	if err := s.Maps.SkelPinned.Lookup(uint32(0), &sum); err != nil || sum != (hits-5000)*999 {
		t.Errorf("sum %d of %d hits, %v", sum, hits-5000, err)
	}
	data.Limit = 7 // the map itself
	rd, err := ringbuf.NewReader(s.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if ret, _, err := s.Programs.Filter.Test(make([]byte, 64)); err != nil || ret != 2 {
		t.Fatal(ret, err)
	}
	record, err := rd.Read()
	if err != nil || record.RawSample[0] != 7 {
		t.Errorf("record %v, %v", record.RawSample, err)
	}
	var slot features.FeaturesSlotT
	if err := s.Maps.Counts.Lookup(features.FeaturesEvent{}, &slot); err != nil || slot.Cpu != 1 {
		t.Errorf("slot %+v, %v", slot, err)
	}
	rd.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Bss != nil || s.Maps.Counts != nil {
		t.Error("pointers after Close")
	}
	if after := openfds.List(); !slices.Equal(after, before) {
		t.Errorf("open before %s, after %s", before, after)
	}
}

// If the verifier refuses a program, the error names it and has the log, nothing stays open, and
// the load can be repeated with other values through the same pointers.
func TestLoadFails(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	before := openfds.List()
	s := open(t)
	s.Rodata.Broken = true
	err := s.Load()
	var step *skel.StepError
	if !errors.As(err, &step) {
		t.Fatalf("error %v", err)
	}
	if step.Subject != "program on_enter" || step.Op != "PROG_LOAD" || !errors.Is(err, unix.EACCES) || !strings.Contains(step.Log, "R1") {
		t.Errorf("subject %q, op %q, log %q: %v", step.Subject, step.Op, step.Log, err)
	}
	if !strings.Contains(err.Error(), "skeleton of features: program on_enter: PROG_LOAD: EACCES") {
		t.Errorf("error %q", err)
	}
	if after := openfds.List(); !slices.Equal(after, before) {
		t.Errorf("open before %s, after %s", before, after)
	}
	s.Rodata.Broken = false
	load(t, s)
}

// A load reuses the caller's map, and a pinned one.
func TestReuse(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	first, second := open(t), open(t)
	first.Rodata.Pid = uint32(os.Getpid())
	load(t, first)
	if _, err := os.Stat(filepath.Join(first.PinPath, "skel_pinned")); err != nil {
		t.Error(err)
	}
	second.PinPath = first.PinPath
	second.Reuse.Counts = first.Maps.Counts
	second.Reuse.Bss = first.Maps.Bss
	load(t, second)
	same := func(a, b *ebpf.Map) bool {
		x, err1 := a.Info()
		y, err2 := b.Info()
		i, _ := x.ID()
		j, _ := y.ID()
		return err1 == nil && err2 == nil && i == j
	}
	if !same(first.Maps.SkelPinned, second.Maps.SkelPinned) || !same(first.Maps.Counts, second.Maps.Counts) || same(first.Maps.Events, second.Maps.Events) {
		t.Error("maps are not shared as asked for")
	}
	first.Bss.Odd[2] = 9
	if second.Bss.Odd[2] != 9 {
		t.Error("sections of one map are not the same memory")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Maps.Counts.Put(features.FeaturesEvent{}, features.FeaturesSlotT{}); err != nil {
		t.Errorf("the first skeleton's map after the second's Close: %v", err)
	}
}

func TestString(t *testing.T) {
	if s := skel.String([]int8{'a', 'b', 0, 'c'}); s != "ab" {
		t.Errorf("%q", s)
	}
	if s := skel.String([]uint8{'a', 'b'}); s != "ab" {
		t.Errorf("%q", s)
	}
	if s := skel.String([]int8(nil)); s != "" {
		t.Errorf("%q", s)
	}
}
