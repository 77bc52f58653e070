package guest

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

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

// Emulator is the path of the QEMU that runs the guests.
func (c *Config) Emulator() (string, error) {
	name := c.QEMU
	if a, ok := arch.Find(c.Kernel.Arch); ok && name == "" {
		name = a.QEMU
	}
	return exec.LookPath(name)
}

// SetAgent makes Agent the program for the kernel's architecture.
func (c *Config) SetAgent() error {
	file, err := agentFor(c.Agent, c.Kernel.Arch)
	if err != nil {
		return err
	}
	own, ownErr := os.Stat(c.Agent)
	other, otherErr := os.Stat(file)
	if ownErr == nil && otherErr == nil && other.ModTime().Before(own.ModTime()) && c.Note != nil {
		c.Note(fmt.Sprintf("%s is older than %s: if they are not of the same source, make bpfreplay.%s", file, c.Agent, c.Kernel.Arch))
	}
	c.Agent = file
	return nil
}
