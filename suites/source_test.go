package suites

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage"
)

func TestUnpackEntry(t *testing.T) {
	const top = "linux-source-7.2/"
	for _, test := range []struct {
		name, link string
		kind       byte
		want       string // path, if it is written
		err        string
	}{
		{name: top + "tools/lib/bpf/Makefile", want: "tools/lib/bpf/Makefile"},
		{name: "./" + top + "scripts/bpf_doc.py", want: "scripts/bpf_doc.py"},
		{name: top + "net/core/filter.c"},
		{name: top + "tools/library/x"},
		{name: top + "tools/lib/../../../x"},
		{name: top + "tools/lib/", kind: tar.TypeDir},
		{name: top + "tools/lib/l", kind: tar.TypeSymlink, link: "../include/x.h", want: "tools/lib/l"},
		{name: top + "tools/lib/l", kind: tar.TypeSymlink, link: "../../../x", err: "out of the tree"},
		{name: top + "tools/lib/l", kind: tar.TypeSymlink, link: "/etc/passwd", err: "out of the tree"},
	} {
		dir := t.TempDir()
		kind := test.kind
		if kind == 0 {
			kind = tar.TypeReg
		}
		err := unpackEntry(dir, &tar.Header{Name: test.name, Typeflag: kind, Linkname: test.link, Mode: 0o755}, strings.NewReader("text"))
		if test.err != "" {
			assert.Check(t, is.ErrorContains(err, test.err), test.name)
			continue
		}
		assert.NilError(t, err, test.name)
		var got []string
		err = filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(dir, file)
				got = append(got, rel)
			}
			return err
		})
		assert.NilError(t, err)
		assert.Check(t, is.Equal(strings.Join(got, " "), test.want), test.name)
	}
}

func TestReasonIn(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"In file included from x:\nx.c:3:1: error: field has incomplete type\n  3 | x\n1 error generated.\n": "field has incomplete type",
		"make[1]: *** [Makefile:1: x] Error 2\n": "make[1]: *** [Makefile:1: x] Error 2",
	} {
		assert.Check(t, is.Equal(reasonIn(in), want))
	}
}

// A tree replaces Debian's package until it is gone.
func TestDebianAgain(t *testing.T) {
	p := &vmimage.Package{Name: "linux-source-7.2"}
	debian := &Corpus{Package: p}
	tree := &Corpus{Tree: "/linux", Last: debian.debian()}
	again := &Corpus{Tree: "/linux", Last: tree.debian()}
	var none *Corpus
	assert.Check(t, tree.debian() == p && again.debian() == p)
	assert.Check(t, none.debian() == nil && (&Corpus{Tree: "/linux"}).debian() == nil)
}
