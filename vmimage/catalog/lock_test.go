package catalog

import (
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
