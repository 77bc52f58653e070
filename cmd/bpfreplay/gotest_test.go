package main

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
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

	files, dirs := testOutput([]string{"x.test", "-test.coverprofile=/w/cover.out", "-test.outputdir=/o", "-test.cpuprofile=cpu.out", "-test.gocoverdir=/w/dir", "-trace=mine"})
	assert.DeepEqual(t, files, []string{"/w/cover.out", "/o/cpu.out", "/w/dir"})
	assert.DeepEqual(t, dirs, []string{"/o", "/w/dir"})
}
