package object

import (
	"bytes"
	"embed"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

//go:embed testdata/maps.o
var embedded embed.FS

// TestWays: every way of reading gives the same object.
func TestWays(t *testing.T) {
	const file = "testdata/maps.o"
	raw := readFile(t, file)
	want, err := Open(file)
	assert.NilError(t, err)
	for name, open := range map[string]func() (*Object, error){
		"bytes":        func() (*Object, error) { return OpenBytes(raw, file) },
		"reader":       func() (*Object, error) { return Options{}.Read(iotest.OneByteReader(bytes.NewReader(raw)), file) },
		"reader at":    func() (*Object, error) { return OpenReader(bytes.NewReader(raw), int64(len(raw)), file) },
		"embedded":     func() (*Object, error) { return Options{}.OpenFS(embedded, file) },
		"of directory": func() (*Object, error) { return Options{}.OpenFS(os.DirFS("testdata"), "maps.o") },
		"link": func() (*Object, error) {
			link := filepath.Join(t.TempDir(), "maps.o")
			abs, err := filepath.Abs(file)
			assert.NilError(t, err)
			assert.NilError(t, os.Symlink(abs, link))
			return Open(link)
		},
	} {
		o, err := open()
		assert.NilError(t, err, name)
		assert.Equal(t, dump(o), dump(want), name)
	}
}

// endless is a file without an end.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	clear(b)
	e.read += int64(len(b))
	return len(b), nil
}

// TestEndless: a file that is not an object is not read on, and an object only up to the limit.
func TestEndless(t *testing.T) {
	zeros := &endless{}
	_, err := Options{}.Read(zeros, "zero")
	assert.ErrorIs(t, err, ErrNotELF)
	assert.Equal(t, zeros.read, int64(elfHeaderSize))

	head := readFile(t, "testdata/maps.o")[:elfHeaderSize]
	zeros = &endless{}
	opts := Options{MaxFileBytes: 1 << 20}
	_, err = opts.Read(io.MultiReader(bytes.NewReader(head), zeros), "padded.o")
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, `object "padded.o": object is too large: the file has more than 1048576 bytes (Options.MaxFileBytes)`)
	assert.Assert(t, zeros.read <= opts.MaxFileBytes+1)

	_, err = opts.OpenBytes(append(bytes.Clone(head), make([]byte, 1<<20)...), "padded.o")
	assert.ErrorIs(t, err, ErrTooLarge)

	file := filepath.Join(t.TempDir(), "sparse.o")
	assert.NilError(t, os.WriteFile(file, head, 0o600))
	assert.NilError(t, os.Truncate(file, MaxFileBytes+1))
	_, err = Open(file)
	assert.ErrorIs(t, err, ErrTooLarge)
	_, err = ReadFile(file)
	assert.ErrorIs(t, err, ErrTooLarge)

	failing := errors.New("disk on fire")
	_, err = Options{}.Read(io.MultiReader(bytes.NewReader(head), iotest.ErrReader(failing)), "x.o")
	assert.ErrorIs(t, err, failing)
}

// TestNotFiles: files that are not regular are not opened, and do not block.
func TestNotFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	assert.NilError(t, unix.Mkfifo(pipe, 0o600))
	l, err := net.Listen("unix", socket)
	assert.NilError(t, err)
	defer l.Close()
	for path, text := range map[string]string{
		dir: "a directory", pipe: "a pipe; write the object to a file first", socket: "a socket", "/dev/zero": "a device",
	} {
		_, err := Open(path)
		assert.Check(t, is.ErrorIs(err, ErrNotFile), path)
		assert.Check(t, is.ErrorContains(err, `object "`+path+`": not a regular file: it is `+text))
	}
	_, err = Options{}.OpenFS(os.DirFS("/dev"), "zero")
	assert.ErrorIs(t, err, ErrNotFile)
	_, err = Options{}.OpenFS(os.DirFS(dir), "pipe")
	assert.ErrorIs(t, err, ErrNotFile)
	_, err = Open(filepath.Join(dir, "missing"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "open "+dir)
}
