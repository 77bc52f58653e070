package bpfreplay

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

const module = "github.com/bpfreplay/bpfreplay/"

// outside are packages to which the rules do not apply: examples, tests and tools.
var outside = []string{"loader/skel/examples/", "loader/skel/internal/", "harness/vm/internal/", "vmimage/internal/", "selftests/", "internal/lskel", "internal/need", "internal/tools/"}

// imports returns the packages of the tree, each with the packages of the tree that it imports
// outside of tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "testdata" {
			return skip(err)
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || dir == "." ||
			slices.ContainsFunc(outside, func(o string) bool { return strings.HasPrefix(dir+"/", o) || dir == o }) {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		all[dir] = append(all[dir], []string{}...)
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if of, ok := strings.CutPrefix(name, module); ok && !slices.Contains(all[dir], of) {
				all[dir] = append(all[dir], of)
			}
		}
		return nil
	})
	assert.NilError(t, err)
	return all
}

// skip returns err, or fs.SkipDir to skip a directory of test data.
func skip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

// TestImportsGoDown: docs/architecture.md lists each package, with its imports on lower lines.
func TestImportsGoDown(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	assert.NilError(t, err)
	_, rest, ok := strings.Cut(string(page), "```rooms\n")
	assert.Assert(t, ok, "docs/architecture.md has no rooms")
	rooms, _, _ := strings.Cut(rest, "```")
	floor := make(map[string]int)
	for i, line := range strings.Split(rooms, "\n") {
		for _, name := range strings.Fields(line) {
			floor[name] = -i
		}
	}
	all := imports(t)
	assert.Assert(t, len(all) > 30, "%d packages", len(all))
	for name, list := range all {
		here, ok := floor[name]
		assert.Check(t, ok, "docs/architecture.md does not have package %s", name)
		for _, of := range list {
			assert.Check(t, floor[of] < here, "%s imports %s, which is not below it", name, of)
		}
	}
	for name := range floor {
		_, ok := all[name]
		assert.Check(t, ok, "docs/architecture.md has package %s, which is gone", name)
	}
}

// TestRoomsApart: groups of packages that must not import each other.
func TestRoomsApart(t *testing.T) {
	in := func(name string, rooms ...string) bool {
		return slices.ContainsFunc(rooms, func(r string) bool { return name == r || strings.HasPrefix(name, r+"/") })
	}
	for name, list := range imports(t) {
		for _, of := range list {
			guests := in(of, "harness", "vmimage", "suites", "cmd")
			assert.Check(t, !in(name, "loader", "internal") || name == "internal/bench" || !guests, "%s imports %s: it is to know nothing of guests", name, of)
			bpf := in(of, "loader", "internal/object", "internal/trace", "internal/emit", "internal/replay", "internal/bpfsys", "internal/btf")
			assert.Check(t, !in(name, "vmimage", "suites", "harness/vm") || !bpf, "%s imports %s: it is to know nothing of BPF", name, of)
			assert.Check(t, name != "harness/state" || !in(of, "harness"), "harness/state imports %s", of)
		}
	}
}

// TestHostWithoutEngines: packages of the host do not link the engines or the agent.
func TestHostWithoutEngines(t *testing.T) {
	all := imports(t)
	var visit func(host, name string, seen map[string]bool)
	visit = func(host, name string, seen map[string]bool) {
		for _, of := range all[name] {
			assert.Check(t, of != "harness/agent" && of != "harness/engine" && of != "harness/exercise", "%s needs %s, by %s", host, of, name)
			if !seen[of] {
				seen[of] = true
				visit(host, of, seen)
			}
		}
	}
	for _, host := range []string{"harness/run", "harness/guestexec", "harness/mutation", "harness/fuzz", "harness/report"} {
		assert.Check(t, len(all[host]) > 0, host)
		visit(host, host, make(map[string]bool))
	}
}
