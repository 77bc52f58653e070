package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// Counter prints the name of a program that this process executes.
func TestCount(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	s, err := OpenCounter()
	if err != nil {
		t.Fatal(err)
	}
	lines, failed := make(chan string, 16), make(chan error, 1)
	s.Rodata.Parent = uint32(os.Getpid())
	go func() { failed <- count(s, func(line string) { lines <- line }) }()
	for { // until it is attached
		if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			t.Fatalf("%+v", err)
		case line := <-lines:
			if !strings.Contains(line, ": ") || !strings.HasSuffix(line, " exe") {
				t.Errorf("line %q", line)
			}
			return
		default:
		}
	}
}
