package engine

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// bpffs is the mount point of the BPF file system.
const bpffs = "/sys/fs/bpf"

// pins creates a directory for the maps that one load pins by name, so that engines do not reuse
// each other's maps. The returned function removes it.
func pins(engine string) (string, func(), error) {
	dir := filepath.Join(bpffs, fmt.Sprintf("bpfreplay-%s-%d", engine, os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("directory for pins: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// pinsOf calls pins if the artefact has pinned maps.
func pinsOf(engine string, a *artefact.Artefact) (string, func(), error) {
	for _, m := range a.Maps {
		if m.Pinned {
			return pins(engine)
		}
	}
	return "", func() {}, nil
}
