package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// A record of the lock file only replaces one for the same architecture.
func TestLockArchs(t *testing.T) {
	l := &LockFile{Schema: lockSchema}
	for _, rec := range []Locked{
		{Name: "6.9", Arch: "", Entry: "x", Release: "old"}, {Name: "6.9", Arch: "arm64", Entry: "a", Release: "1"},
		{Name: "6.9", Arch: "amd64", Entry: "x", Release: "2"}, {Name: "6.9", Arch: "arm64", Entry: "b", Release: "3"},
	} {
		l.Put(rec)
	}
	var got []string
	for _, k := range l.Kernels {
		got = append(got, k.Arch+" "+k.Release)
	}
	assert.DeepEqual(t, got, []string{"amd64 2", "arm64 3"})
}

func TestDamagedLock(t *testing.T) {
	sum := strings.Repeat("0", 64)
	record := func(archive, path, sum string) string {
		return fmt.Sprintf(`{"schema":1,"kernels":[{"name":"6.1","packages":[{"package":"p","archive":%q,"path":%q,"sha256":%q,"size":1}]}]}`, archive, path, sum)
	}
	for _, test := range []struct{ data, err string }{
		{"{", "unexpected end"},
		{`{"schema":2}`, "schema 2"},
		{`{"schema":1,"kernels":[{"name":"6.1"}]}`, "without packages"},
		{record("debian", "../up", sum), "not relative"},
		{record("debian", "/abs", sum), "not relative"},
		{record("debian", "a?b", sum), "not relative"},
		{record("elsewhere", "pool/p", sum), "no archive"},
		{record("debian-snapshot/../..", "pool/p", sum), "no archive"},
		{record("debian", "pool/p", "0"), "no digest"},
	} {
		file := filepath.Join(t.TempDir(), LockName)
		assert.NilError(t, os.WriteFile(file, []byte(test.data), 0o644))
		_, err := ReadLock(file)
		assert.ErrorContains(t, err, test.err)
	}
}
