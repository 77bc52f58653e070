package exercise

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gotest.tools/v3/assert"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/openfds"
)

func TestTinyProgram(t *testing.T) {
	if tinyELF() == nil {
		t.Skipf("there is no tiny program for %s", runtime.GOARCH)
	}
	raw := tinyELF()
	f, err := elf.NewFile(bytes.NewReader(raw))
	assert.NilError(t, err)
	assert.Equal(t, len(f.Progs), 1)
	assert.Equal(t, f.Progs[0].Filesz, uint64(len(raw)))
	assert.Assert(t, tinyFunction() < uint64(len(raw)))

	g := &Sandbox{dir: t.TempDir()}
	g.tiny = filepath.Join(g.dir, "tiny")
	assert.NilError(t, os.WriteFile(g.tiny, raw, 0o700))
	assert.Equal(t, outcome(g.exec()), "ok")
	g.tiny = g.dir
	assert.Equal(t, outcome(g.exec()), "EACCES", "a directory is no program")
}

// TestTrigger: the results of the trigger are always the same while no program is attached.
func TestTrigger(t *testing.T) {
	g := &Sandbox{dir: t.TempDir()}
	g.tiny = filepath.Join(g.dir, "tiny")
	assert.NilError(t, os.WriteFile(g.tiny, tinyELF(), 0o700))
	before := openfds.List()
	system := func(s step) bool { return !s.packets } // another process may use the ports
	first := g.runTrigger(system)
	assert.DeepEqual(t, g.runTrigger(system), first)
	for name, said := range first {
		want := "ok"
		if name == "open a file that is not there" {
			want = "ENOENT"
		}
		assert.Equal(t, said, want, name)
	}
	packets := g.runTrigger(func(s step) bool { return s.packets })
	assert.Equal(t, len(packets)+len(first), len(steps))
	assert.DeepEqual(t, openfds.List(), before)
}

func TestOutcome(t *testing.T) {
	assert.Equal(t, outcome(nil), "ok")
	assert.Equal(t, outcome(unix.EPERM), "EPERM")
	assert.Equal(t, outcome(unix.Errno(524)), "errno 524")
	assert.Equal(t, outcome(errNotAttached("no %s", "cgroup2")), "not attached: no cgroup2")
}
