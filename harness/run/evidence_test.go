package run

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// kept returns the names of the folders in a run's directory.
func kept(t *testing.T, out string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(out, failedDir))
	if err != nil {
		assert.ErrorIs(t, err, fs.ErrNotExist)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// troubled answers for five cases: the second fails the first time only, the third leaves another
// state, and the fourth kills its guest.
func troubled(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
	switch {
	case req.Name == "c2", req.Name == "c1" && ran > 0:
		r := differing(req)
		r.Console = []byte("said of " + req.Name + "\n")
		return r, nil
	case req.Name == "c3":
		return died("of it")
	}
	return fine(req), nil
}

func TestEvidence(t *testing.T) {
	o := Options{Config: guest.Config{Agent: os.Args[0]}, Out: t.TempDir(), Again: func(kernel, name, dir string) []string {
		return []string{"echo " + kernel + " " + name + " " + filepath.Base(dir)}
	}}
	// Folders that a former run left of these cases are removed, others stay.
	for _, dir := range []string{"c0/old", "c1/old", "another/old", unfinished + "1/old"} {
		assert.NilError(t, os.MkdirAll(filepath.Join(o.Out, failedDir, dir), 0o755))
	}
	r, _, err := fakeRun(t, 5, o, troubled)
	assert.NilError(t, err)
	assert.DeepEqual(t, kept(t, o.Out), []string{"another", "c1", "c2", "c3"})
	for i, c := range r.Cases {
		assert.Equal(t, c.Folder != "", i > 0 && i < 4, c.Name)
	}

	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(o.Out, failedDir, name))
		assert.NilError(t, err)
		return string(data)
	}
	assert.Equal(t, read("c2/console.log"), "said of c2\n")
	assert.Assert(t, is.Contains(read("c2/differences.txt"), "map surplus\n    trace: absent\n    replay: present\n"))
	assert.Assert(t, is.Contains(read("c2/trace.txt"), "PROG_LOAD("))
	assert.Assert(t, is.Contains(read("c2/again.sh"), "\necho 6.12 c2 c2\n"))
	var load wire.Load
	assert.NilError(t, json.Unmarshal([]byte(read("c2/load-replay.json")), &load))
	assert.Equal(t, load.State.Maps[0].Name, "surplus")
	// The case was written as a suite of its own.
	own, err := suite.Read(filepath.Join(o.Out, failedDir, "c2", "cases.yaml"))
	assert.NilError(t, err)
	assert.Equal(t, own.Cases[0].Name, "c2")
	want, err := os.ReadFile(coreObject(t))
	assert.NilError(t, err)
	got, err := os.ReadFile(own.Path(&own.Cases[0]))
	assert.NilError(t, err)
	assert.Assert(t, slices.Equal(got, want))

	// Both attempts are there, as far as they got.
	assert.Equal(t, read("c1/first/console.log"), "said of c1\n")
	assert.Assert(t, !strings.Contains(read("c1/differences.txt"), "map surplus\n"))
	assert.Assert(t, is.Contains(read("c1/first/differences.txt"), "surplus"))
	assert.Assert(t, is.Contains(read("c3/differences.txt"), "guest panicked: of it"))

	// The next run passes and removes all folders of the last one.
	_, _, err = fakeRun(t, 5, o, func(req *wire.CaseRequest, _ int) (*guest.Reply, error) { return fine(req), nil })
	assert.NilError(t, err)
	assert.DeepEqual(t, kept(t, o.Out), []string{"another"})
}

func TestFolderNames(t *testing.T) {
	for name, want := range map[string]string{
		"maps_hash": "maps_hash", "../../etc": "_._.._etc", ".hidden": "_hidden", "a b/c\n": "a_b_c_", "..": "_.",
	} {
		assert.Equal(t, folderName(name), want)
	}
}

// A full disk on the host costs the artifacts, but no verdict.
func TestEvidenceOnFullDisk(t *testing.T) {
	need.Root(t)
	out := t.TempDir()
	if err := unix.Mount("tmpfs", out, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { assert.NilError(t, unix.Unmount(out, 0)) })
	r, _, err := fakeRun(t, 5, Options{Config: guest.Config{Agent: os.Args[0]}, Out: out}, func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		rep, err := troubled(req, ran)
		if rep.Answer != nil {
			rep.Console = make([]byte, 64<<10)
		}
		return rep, err
	})
	assert.NilError(t, err)
	assert.Equal(t, r.Cases[2].Verdict(), result.Different)
	assert.Equal(t, r.Cases[2].Folder, "")
	notes := strings.Join(r.Cases[2].Notes, "\n")
	assert.Assert(t, is.Contains(notes, "its evidence cannot be kept: "))
	assert.Assert(t, is.Contains(notes, "no space left on device"))
	assert.Assert(t, r.Cases[0].OK() && r.Cases[4].OK())
	assert.Assert(t, !slices.Contains(kept(t, out), "c2"))
	for _, name := range kept(t, out) {
		assert.Assert(t, !strings.HasPrefix(name, unfinished), name)
	}
}
