package vmimage

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"github.com/u-root/uio/uio"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// listing unpacks archives that follow each other as the kernel does: after
// the end of one and zeros, the next begins on a boundary of four bytes.
func listing(t testing.TB, data []byte) []string {
	t.Helper()
	var out []string
	for len(data) > 0 {
		r := bytes.NewReader(data)
		records := cpio.Newc.Reader(r)
		for {
			rec, err := records.ReadRecord()
			if err == io.EOF {
				break
			}
			assert.NilError(t, err)
			content, err := uio.ReadAll(rec)
			assert.NilError(t, err)
			line := fmt.Sprintf("%s %o", rec.Name, rec.Mode)
			if rec.Rmajor != 0 {
				line += fmt.Sprintf(" %d:%d", rec.Rmajor, rec.Rminor)
			}
			if len(content) > 0 && len(content) < 100 {
				line += " " + string(content)
			}
			assert.Equal(t, rec.MTime+rec.UID+rec.GID+rec.Major+rec.Minor, uint64(0), rec.Name)
			assert.Equal(t, rec.NLink, uint64(1))
			out = append(out, line)
		}
		// The reader does not say where it stopped.
		end := bytes.Index(data, []byte(cpio.Trailer))
		assert.Assert(t, end >= 0)
		end += len(cpio.Trailer)
		end += -end & (cpioBlock - 1)
		data = data[end:]
		out = append(out, "---")
	}
	return out
}

func TestWriteCPIO(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	assert.NilError(t, os.WriteFile(host, []byte("from host"), 0o600))
	files := []File{
		console,
		{Path: "/init", Mode: 0o755, Host: host},
		{Path: "etc/deep/er/file", Mode: 0o644, Data: []byte("data")},
		{Path: "/etc/deep/", Mode: fs.ModeDir | 0o700},
		{Path: "/link", Mode: fs.ModeSymlink | 0o777, Data: []byte("init")},
		{Path: "/empty", Mode: 0o600},
	}
	var first, second bytes.Buffer
	assert.NilError(t, WriteCPIO(&first, files))
	assert.Check(t, is.DeepEqual(listing(t, first.Bytes()), []string{
		"dev 40755", "dev/console 20600 5:1", "empty 100600", "etc 40755", "etc/deep 40700", "etc/deep/er 40755",
		"etc/deep/er/file 100644 data", "init 100755 from host", "link 120777 init", "---",
	}))
	assert.Equal(t, first.Len()%cpioBlock, 0)
	// No byte may depend on the day or the machine. If you change the digest on purpose, change
	// cpioFormat, too.
	assert.Equal(t, sha256Of(first.Bytes()), "28e1b89d3f722d8ff571dd70b7f74d2a0f75e0d1c7aa6ca538737f4c935dbc96")

	// The same again, in another order and at another time.
	old := time.Now().Add(-time.Hour)
	assert.NilError(t, os.Chtimes(host, old, old))
	files[0], files[5], files[1], files[2] = files[5], files[0], files[2], files[1]
	assert.NilError(t, WriteCPIO(&second, files))
	assert.Check(t, bytes.Equal(first.Bytes(), second.Bytes()))
}

// Two programs may have the same library.
func TestWriteCPIOTwice(t *testing.T) {
	library := File{Path: "/lib/ld.so", Mode: 0o755, Host: os.Args[0]}
	var once, twice bytes.Buffer
	assert.NilError(t, WriteCPIO(&once, []File{library}))
	library.Path = "lib/ld.so"
	assert.NilError(t, WriteCPIO(&twice, []File{library, {Path: "/lib/ld.so", Mode: 0o755, Host: os.Args[0]}}))
	assert.Check(t, bytes.Equal(once.Bytes(), twice.Bytes()))
}

func TestWriteCPIOErrors(t *testing.T) {
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
		assert.Check(t, is.ErrorContains(WriteCPIO(io.Discard, test.files), test.err))
	}
}

func TestInitramfs(t *testing.T) {
	store, k := testKernel(t)
	dir := t.TempDir()
	what := Initramfs{
		Base:    []File{{Path: "/init", Mode: 0o755, Data: []byte("agent")}},
		Modules: []string{"libcrc"},
		Extra:   []File{{Path: "/case", Mode: 0o644, Data: []byte("one")}},
	}
	build := func(name string, what Initramfs) ([]byte, string) {
		t.Helper()
		file := filepath.Join(dir, name)
		sum, err := store.Initramfs(file, k, what)
		assert.NilError(t, err)
		return []byte(readFile(t, file)), sum
	}
	first, sum := build("1", what)
	modules := "lib/modules/" + k.Release
	assert.Check(t, is.DeepEqual(listing(t, first), []string{
		"dev 40755", "dev/console 20600 5:1", "init 100755 agent", "---",
		"boot 40755", "boot/config-" + k.Release + " 100644 CONFIG_BPF=y\n",
		"lib 40755", "lib/modules 40755", modules + " 40755", modules + "/kernel 40755",
		modules + "/kernel/crypto 40755", modules + "/kernel/crypto/crc_generic.ko 100644",
		modules + "/kernel/lib 40755", modules + "/kernel/lib/libcrc.ko 100644",
		modules + "/modules.dep 100644 kernel/crypto/crc_generic.ko:\nkernel/lib/libcrc.ko: kernel/crypto/crc_generic.ko\n",
		modules + "/modules.load 100644 kernel/crypto/crc_generic.ko\nkernel/lib/libcrc.ko\n", "---",
		"case 100644 one", "---",
	}))
	// The second time all parts but the extra one are in the cache, and the modules are not read.
	moved := k.ModulesDir + ".moved"
	assert.NilError(t, os.Rename(k.ModulesDir, moved))
	second, again := build("2", what)
	assert.NilError(t, os.Rename(moved, k.ModulesDir))
	assert.Check(t, bytes.Equal(first, second))
	assert.Equal(t, sum, again)

	what.Extra[0].Data = []byte("two")
	third, other := build("3", what)
	assert.Check(t, !bytes.Equal(first, third))
	assert.Check(t, sum != other)
}

// TestInitramfsErrors: a failure leaves no file, and a file that is there is
// not overwritten.
func TestInitramfsErrors(t *testing.T) {
	store, k := testKernel(t)
	dst := filepath.Join(t.TempDir(), "initramfs")
	for _, test := range []struct {
		what Initramfs
		err  string
	}{
		{Initramfs{Modules: []string{"nowhere"}}, "no module is called nowhere"},
		{Initramfs{Base: []File{{Path: "/init", Host: "/nowhere"}}}, "no such file"},
		{Initramfs{Extra: []File{{Path: "/init", Host: "/nowhere"}}}, "no such file"},
	} {
		_, err := store.Initramfs(dst, k, test.what)
		assert.Check(t, is.ErrorContains(err, test.err))
		_, err = os.Stat(dst)
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
	assert.NilError(t, os.WriteFile(dst, []byte("mine"), 0o644))
	_, err := store.Initramfs(dst, k, Initramfs{})
	assert.ErrorIs(t, err, os.ErrExist)
	assert.Equal(t, readFile(t, dst), "mine")
}

// TestOldArchives: archives that were not used for long are removed when a new one is made.
func TestOldArchives(t *testing.T) {
	store, k := testKernel(t)
	dir := t.TempDir()
	_, err := store.Initramfs(filepath.Join(dir, "1"), k, Initramfs{})
	assert.NilError(t, err)
	count := func() int {
		entries, err := os.ReadDir(store.cache.path(dirCPIO))
		assert.NilError(t, err)
		return len(entries)
	}
	assert.Equal(t, count(), 3) // base, kernel, and the name of the latter
	entries, err := os.ReadDir(store.cache.path(dirCPIO))
	assert.NilError(t, err)
	old := time.Now().Add(-2 * archiveKeep)
	for _, entry := range entries {
		assert.NilError(t, os.Chtimes(store.cache.path(dirCPIO, entry.Name()), old, old))
	}
	_, err = store.Initramfs(filepath.Join(dir, "2"), k, Initramfs{Base: []File{{Path: "/new"}}})
	assert.NilError(t, err)
	assert.Equal(t, count(), 3)
}
