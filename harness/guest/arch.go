package guest

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// agentFor returns the program that becomes PID 1 of guests of the architecture `of`: agent itself,
// or for another architecture the file beside it that has the architecture as a suffix
// (bpfreplay.arm64).
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

// Emulator returns the path of the QEMU that runs the guests.
func (c *Config) Emulator() (string, error) {
	name := c.QEMU
	if a, ok := arch.Find(c.Kernel.Arch); ok && name == "" {
		name = a.QEMU
	}
	return exec.LookPath(name)
}

// SetAgent sets Agent to the build of the agent for the kernel's architecture. It notes a build
// that is older than the agent of this machine.
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
