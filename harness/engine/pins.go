package engine

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// bpffs is where the BPF file system is.
const bpffs = "/sys/fs/bpf"

// pins makes a directory for what one load pins by name, so that engines do not
// find each other's maps, and returns what removes it.
func pins(engine string) (string, func(), error) {
	dir := filepath.Join(bpffs, fmt.Sprintf("bpfreplay-%s-%d", engine, os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("directory for pins: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// pinsOf is pins for a load, if it wants any.
func pinsOf(engine string, a *artefact.Artefact) (string, func(), error) {
	for _, m := range a.Maps {
		if m.Pinned {
			return pins(engine)
		}
	}
	return "", func() {}, nil
}
