package skel_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/skel/internal/hooks"
)

// Attach attaches every program whose section names a target, and leaves out the others. The
// attached programs run until Detach.
func TestAttachKinds(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the system calls of the programs are those of x86-64")
	}
	s, err := hooks.OpenHooks()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Rodata.Pid = uint32(os.Getpid())
	err = s.Load()
	if errors.Is(err, unix.EPERM) && os.Getenv(need.BPFEnv) != need.BPFMust {
		t.Skipf("this kernel lets nobody load programs for trampolines: %v", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := s.Attach(); err != nil {
		t.Fatal(err)
	}
	it := s.Links.Iter
	if err := s.Attach(); err != nil || s.Links.Iter != it {
		t.Errorf("a second Attach: %v", err)
	}
	trigger(t, s.Links.Iter.(*link.Iter))
	runs := reflect.ValueOf(s.Bss).Elem()
	links := reflect.TypeOf(s.Links)
	if links.NumField() != 13 {
		t.Errorf("%d links", links.NumField())
	}
	for i := range links.NumField() {
		if name := links.Field(i).Name; runs.FieldByName(name+"Runs").Uint() == 0 {
			t.Errorf("program %s has not run", name)
		}
	}
	if s.Bss.ElsewhereRuns != 0 || s.Bss.UnplacedRuns != 0 {
		t.Errorf("programs without a place have run: %+v", s.Bss)
	}
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	before := *s.Bss
	if err := os.Remove(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("removed")
	}
	syscall.Getppid()
	if *s.Bss != before {
		t.Errorf("after Detach %+v, then %+v", before, *s.Bss)
	}
}

// trigger causes each event that a program is attached to once.
func trigger(t *testing.T, it *link.Iter) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unlink(path); err != nil {
		t.Fatal(err)
	}
	syscall.Getppid()
	text, err := it.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if _, err := io.ReadAll(text); err != nil {
		t.Fatal(err)
	}
}

// If a program cannot be attached, the error names it, and the programs before it are detached.
func TestAttachFails(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	s := open(t)
	load(t, s)
	if err := s.Programs.OnExit.Close(); err != nil {
		t.Fatal(err)
	}
	err := s.Attach()
	if err == nil || !strings.Contains(err.Error(), "attach program on_exit: ") {
		t.Fatalf("error %v", err)
	}
	if s.Links.OnEnter != nil || s.Links.OnExit != nil {
		t.Errorf("links %+v", s.Links)
	}
}
