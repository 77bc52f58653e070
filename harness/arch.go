package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// KernelDir is what the directory of a kernel's run is called, and its baseline: as the kernel, or as the file that it
// is. Those of another architecture are in a directory of its own.
func KernelDir(kernel string) string {
	if of, name, explicit := arch.Cut(kernel); explicit {
		return filepath.FromSlash(arch.Join(of, filepath.Base(name)))
	}
	return filepath.Base(filepath.Clean(kernel))
}

// agentFor is the program that becomes PID 1 of guests of an architecture: this one, or what lies beside it with the
// architecture behind its name.
func agentFor(agent, of string) (string, error) {
	if of == "" || of == arch.Native {
		return agent, nil
	}
	file := agent + "." + of
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("guests for %s need this program built for it, %s, and that is not there: make bpfreplay.%s (or CGO_ENABLED=0 GOARCH=%s go build -o %s ./cmd/bpfreplay)",
			of, file, of, of, file)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no program", file)
	}
	return file, nil
}

// emulator is the path of the QEMU that runs the guests.
func (o *Options) emulator() (string, error) {
	name := o.QEMU
	if a, ok := arch.Find(o.Kernel.Arch); ok && name == "" {
		name = a.QEMU
	}
	return exec.LookPath(name)
}

// setAgent makes Agent the program for the kernel's architecture.
func (o *Options) setAgent() error {
	file, err := agentFor(o.Agent, o.Kernel.Arch)
	if err != nil {
		return err
	}
	own, ownErr := os.Stat(o.Agent)
	other, otherErr := os.Stat(file)
	if ownErr == nil && otherErr == nil && other.ModTime().Before(own.ModTime()) && o.Note != nil {
		o.Note(fmt.Sprintf("%s is older than %s: if they are not of the same source, make bpfreplay.%s", file, o.Agent, o.Kernel.Arch))
	}
	o.Agent = file
	return nil
}
