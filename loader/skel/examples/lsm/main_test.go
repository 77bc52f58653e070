package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// needLSM skips if bpf is not an active security module.
func needLSM(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("securityfs", dir, "securityfs", 0, ""); err != nil {
		t.Skipf("cannot mount securityfs: %v", err)
	}
	active, err := os.ReadFile(filepath.Join(dir, "lsm"))
	if err := errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(strings.TrimSpace(string(active)), ","), "bpf") {
		t.Skipf("needs the security module bpf, active are %s: boot with lsm=bpf", active)
	}
}

// The file cannot be removed until Close; other files can.
func TestKeep(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	needLSM(t)
	kept, other := filepath.Join(t.TempDir(), "kept"), filepath.Join(t.TempDir(), "other")
	for _, path := range []string{kept, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := keep(kept)
	if errors.Is(err, unix.EPERM) && os.Getenv(need.BPFEnv) != need.BPFMust {
		t.Skipf("this kernel lets nobody load LSM programs: %v", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := os.Remove(kept); !errors.Is(err, unix.EPERM) {
		t.Errorf("removed: %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Error(err)
	}
	if s.Bss.Refused != 1 {
		t.Errorf("%d attempts refused", s.Bss.Refused)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(kept); err != nil {
		t.Error(err)
	}
}
