package initramfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestWrite(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	assert.NilError(t, os.WriteFile(host, []byte("from host"), 0o600))
	files := []File{
		Console,
		{Path: "/init", Mode: 0o755, Host: host},
		{Path: "etc/deep/er/file", Mode: 0o644, Data: []byte("data")},
		{Path: "/etc/deep/", Mode: fs.ModeDir | 0o700},
		{Path: "/link", Mode: fs.ModeSymlink | 0o777, Data: []byte("init")},
		{Path: "/empty", Mode: 0o600},
	}
	var first, second bytes.Buffer
	assert.NilError(t, Write(&first, files))
	assert.Check(t, is.DeepEqual(fake.Listing(t, first.Bytes()), []string{
		"dev 40755", "dev/console 20600 5:1", "empty 100600", "etc 40755", "etc/deep 40700", "etc/deep/er 40755",
		"etc/deep/er/file 100644 data", "init 100755 from host", "link 120777 init", "---",
	}))
	assert.Equal(t, first.Len()%block, 0)
	// No byte may depend on the day or the machine. If you change the digest on purpose, change
	// Format, too.
	assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(first.Bytes())), "28e1b89d3f722d8ff571dd70b7f74d2a0f75e0d1c7aa6ca538737f4c935dbc96")

	// The same again, in another order and at another time.
	old := time.Now().Add(-time.Hour)
	assert.NilError(t, os.Chtimes(host, old, old))
	files[0], files[5], files[1], files[2] = files[5], files[0], files[2], files[1]
	assert.NilError(t, Write(&second, files))
	assert.Check(t, bytes.Equal(first.Bytes(), second.Bytes()))
}

// Two programs may have the same library.
func TestWriteTwice(t *testing.T) {
	library := File{Path: "/lib/ld.so", Mode: 0o755, Host: os.Args[0]}
	var once, twice bytes.Buffer
	assert.NilError(t, Write(&once, []File{library}))
	library.Path = "lib/ld.so"
	assert.NilError(t, Write(&twice, []File{library, {Path: "/lib/ld.so", Mode: 0o755, Host: os.Args[0]}}))
	assert.Check(t, bytes.Equal(once.Bytes(), twice.Bytes()))
}

func TestWriteErrors(t *testing.T) {
	for _, test := range []struct {
		files []File
		err   string
	}{
		{[]File{{Path: "/"}}, "not the path of a file"},
		{[]File{{Path: "/a"}, {Path: "b/../a", Mode: 0o755}}, "/a: there are two files of that name"},
		{[]File{{Path: "/a", Data: []byte("1")}, {Path: "/a", Data: []byte("2")}}, "two files of that name"},
		{[]File{{Path: "/a"}, {Path: "/a/b"}}, "/a/b: a is not a directory"},
		{[]File{{Path: "/a", Mode: fs.ModeNamedPipe}}, "cannot be in an initramfs"},
		{[]File{{Path: "/a", Mode: fs.ModeDir, Data: []byte("x")}}, "only files and links have contents"},
		{[]File{{Path: "/a", Host: t.TempDir()}}, "not a regular file"},
		{[]File{{Path: "/a", Host: "/nowhere"}}, "no such file"},
	} {
		assert.Check(t, is.ErrorContains(Write(io.Discard, test.files), test.err))
	}
}
