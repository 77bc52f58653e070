package guestexec

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// archiveOf returns a tar archive as a guest could send it.
func archiveOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		data := []byte("data of " + h.Name)
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		h.Mode = 0o644
		assert.NilError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write(data)
			assert.NilError(t, err)
		}
	}
	assert.NilError(t, w.Close())
	return b.Bytes()
}

// get passes an archive to a getter in pieces.
func get(t *testing.T, archive []byte, wanted ...string) error {
	t.Helper()
	g, err := newGetter(wanted, nil)
	assert.NilError(t, err)
	for len(archive) > 0 {
		n := min(len(archive), 700)
		if err := g.take(archive[:n]); err != nil {
			return err
		}
		archive = archive[n:]
	}
	return g.finish()
}

func TestGet(t *testing.T) {
	dir := t.TempDir()
	name := dir[1:] + "/new/out"
	err := get(t, archiveOf(t,
		tar.Header{Name: name, Typeflag: tar.TypeDir},
		tar.Header{Name: name + "/file", Typeflag: tar.TypeReg},
		tar.Header{Name: name + "/link", Typeflag: tar.TypeSymlink, Linkname: "file"},
	), filepath.Join(dir, "new/out"))
	assert.NilError(t, err)
	for _, f := range []string{"file", "link"} {
		b, err := os.ReadFile(filepath.Join(dir, "new/out", f))
		assert.NilError(t, err)
		assert.Equal(t, string(b), "data of "+name+"/file")
	}
	assert.NilError(t, get(t, nil, dir+"/x"))
}

// TestGetForged: an archive with paths that were not asked for creates nothing outside of those
// that were.
func TestGetForged(t *testing.T) {
	dir := t.TempDir()
	in, victim := filepath.Join(dir, "in"), filepath.Join(dir, "victim")
	assert.NilError(t, os.Mkdir(in, 0o755))
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for why, archive := range map[string][]byte{
		"was not asked for": archiveOf(t, reg(victim[1:])),
		"not asked for":     archiveOf(t, reg(in[1:]+"/../victim")),
		"escapes from parent": archiveOf(t,
			tar.Header{Name: in[1:] + "/link", Typeflag: tar.TypeSymlink, Linkname: "../.."},
			reg(in[1:]+"/link/x")),
		"neither file nor directory": archiveOf(t, tar.Header{Name: in[1:] + "/pipe", Typeflag: tar.TypeFifo}),
		"files from the guest":       bytes.Repeat([]byte("x"), 2000),
	} {
		assert.Check(t, is.ErrorContains(get(t, archive, in), why), why)
	}
	_, err := os.Stat(victim)
	assert.Assert(t, os.IsNotExist(err))
	_, err = newGetter([]string{"/"}, nil)
	assert.ErrorContains(t, err, "name what is to be copied")
}
