package guests

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestGoTestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"testdata/deep", "other"} {
		assert.NilError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"a_test.go", "testdata/deep/x", "other/y"} {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
	}
	for name, target := range map[string]string{"good": "a_test.go", "broken": "nowhere", "dir": "other"} {
		assert.NilError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	files, err := packageFiles(dir)
	assert.NilError(t, err)
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	assert.DeepEqual(t, files, []string{"a_test.go", "good", "testdata"})
}

func TestGoTestOutput(t *testing.T) {
	assert.Assert(t, isGoTest([]string{"/tmp/b001/x.test", "-test.v"}))
	assert.Assert(t, !isGoTest([]string{"/tmp/b001/x.test"}))
	assert.Assert(t, !isGoTest([]string{"/bin/x", "-test.v"}))

	for _, c := range []struct {
		args  string
		flags map[string]string
		want  testOutput
	}{
		{"-test.coverprofile=/w/cover.out -test.outputdir=/o -test.cpuprofile=cpu.out -test.gocoverdir=/w/dir -trace=mine",
			map[string]string{"coverprofile": "/w/cover.out", "outputdir": "/o", "cpuprofile": "cpu.out", "gocoverdir": "/w/dir"},
			testOutput{files: []string{"/w/cover.out", "/o/cpu.out", "/w/dir"}, dirs: []string{"/o", "/w/dir"}}},
		// As in package flag: two dashes, separate values, and no flags after the first argument.
		{"-test.v --test.trace t.out -own 3 -test.artifacts -test.timeout 20m x -test.cpuprofile=no",
			map[string]string{"v": "true", "trace": "t.out", "artifacts": "true", "timeout": "20m"},
			testOutput{files: []string{"t.out"}, more: []string{"_artifacts"}}},
		{"-test.artifacts=false -test.run -x -- -test.v", map[string]string{"artifacts": "false", "run": "-x"}, testOutput{}},
		{"-test.artifacts -test.outputdir=/o -test.fuzz=. -test.fuzzcachedir=/c -test.timeout=0s",
			map[string]string{"artifacts": "true", "outputdir": "/o", "fuzz": ".", "fuzzcachedir": "/c", "timeout": "0s"},
			testOutput{dirs: []string{"/o"}, more: []string{"/o/_artifacts", "testdata/fuzz", "/c"}, needs: []string{"/c"}}},
	} {
		flags := readTestFlags(append([]string{"x.test"}, strings.Fields(c.args)...))
		assert.DeepEqual(t, flags, c.flags)
		assert.DeepEqual(t, outputOf(flags), c.want, cmp.AllowUnexported(testOutput{}))
	}
}

// valueFlags and boolFlags have every flag of package testing.
func TestGoTestFlags(t *testing.T) {
	var known []string
	flag.VisitAll(func(f *flag.Flag) {
		name, ok := strings.CutPrefix(f.Name, "test.")
		if !ok || name == "update-golden" { // of a library that these tests use
			return
		}
		known = append(known, name)
		boolean, _ := f.Value.(interface{ IsBoolFlag() bool })
		list := valueFlags
		if boolean != nil && boolean.IsBoolFlag() {
			list = boolFlags
		}
		assert.Check(t, slices.Contains(list, name), "%s: say in gotest.go what it is, and whether it names a file", name)
	})
	assert.Check(t, is.Len(known, len(valueFlags)+len(boolFlags)))
}

// The tests' own timeout comes first, because its report is better.
func TestGoTestTimeout(t *testing.T) {
	for arg, want := range map[string]time.Duration{
		"-test.timeout=10m0s": 11 * time.Minute,
		"-test.timeout=20m":   21 * time.Minute,
		"-test.timeout=0":     -1,
		"-test.v":             -1,
		"-test.timeout=soon":  -1,
	} {
		assert.Equal(t, testTimeout(readTestFlags([]string{"x.test", arg})), want, arg)
	}
}
