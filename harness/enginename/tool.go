package enginename

import (
	"errors"
	"os/exec"
	"path/filepath"
)

// FindTool returns the absolute path of this machine's bpftool. It also searches the directories
// that only root's PATH has, because Debian installs bpftool there.
func FindTool() (string, error) {
	for _, name := range []string{"bpftool", "/usr/sbin/bpftool", "/usr/local/sbin/bpftool", "/sbin/bpftool"} {
		path, err := exec.LookPath(name)
		if err == nil {
			return filepath.Abs(path)
		}
	}
	return "", errors.New("no bpftool on this machine, which the engines of libbpf need: install Debian's package bpftool, or name one with --bpftool")
}
