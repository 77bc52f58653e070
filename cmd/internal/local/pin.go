package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// pinName returns the name under which something is pinned. A BPF file system reserves names with
// dots, and a slash would lead elsewhere.
func pinName(name string) string { return strings.NewReplacer(".", "_", "/", "_").Replace(name) }

// checkPins refuses objects that would be pinned under the same name.
func checkPins(what string, handles []state.Handle) error {
	taken := make(map[string]string)
	for _, h := range handles {
		name := pinName(h.Name)
		if other, ok := taken[name]; ok && h.FD >= 0 {
			return fmt.Errorf("%s %s and %s %s would both be pinned as %s: rename one of them, or load without --pin",
				what, visible.Name(other), what, visible.Name(h.Name), visible.Name(name))
		}
		taken[name] = h.Name
	}
	return nil
}

// pin pins everything that was loaded, or nothing.
func pin(dir string, l *engine.Loaded) (err error) {
	if err := errors.Join(checkPins("map", l.Maps), checkPins("program", l.Programs)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("directory for pins: %w", err)
	}
	defer func() {
		if err != nil {
			err = failures.All(err, os.RemoveAll(dir))
		}
	}()
	for sub, handles := range map[string][]state.Handle{"maps": l.Maps, "programs": l.Programs, "links": l.Links} {
		if sub == "links" && len(handles) == 0 {
			continue
		}
		at := filepath.Join(dir, sub)
		if err := os.Mkdir(at, 0o700); err != nil {
			return fmt.Errorf("directory for pins: %w", err)
		}
		for _, h := range handles {
			// A BPF file system reserves names with dots.
			path := filepath.Join(at, pinName(h.Name))
			if err := bpfsys.Pin(h.FD, path); err != nil {
				return fmt.Errorf("pin %s at %s (is it on a BPF file system?): %w", h.Name, path, err)
			}
		}
	}
	return nil
}
