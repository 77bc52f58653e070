package suites

import (
	"archive/tar"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// bpfObject returns a small object for a machine, with text in it.
func bpfObject(order binary.ByteOrder, machine elf.Machine, text string) []byte {
	const headers = 2
	text += strings.Repeat("\x00", -len(text)&7)
	b := make([]byte, elfHeaderSize, 256)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	if order == binary.BigEndian {
		b[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	order.PutUint16(b[16:], uint16(elf.ET_REL))
	order.PutUint16(b[18:], uint16(machine))
	order.PutUint64(b[40:], uint64(elfHeaderSize+len(text)))
	order.PutUint16(b[58:], sectionHeaderSize)
	order.PutUint16(b[60:], headers)
	b = append(b, text...)
	section := make([]byte, headers*sectionHeaderSize)
	order.PutUint32(section[sectionHeaderSize+4:], uint32(elf.SHT_PROGBITS))
	order.PutUint64(section[sectionHeaderSize+24:], elfHeaderSize)
	order.PutUint64(section[sectionHeaderSize+32:], uint64(len(text)))
	return append(b, section...)
}

func little(text string) []byte { return bpfObject(binary.LittleEndian, elf.EM_BPF, text) }

func TestEmbedded(t *testing.T) {
	one, two := little("one"), bpfObject(binary.BigEndian, elf.EM_BPF, "two")
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	damaged := func(at int, value byte) []byte {
		b := slices.Clone(one)
		b[at] = value
		return b
	}
	for name, test := range map[string]struct {
		in   []byte
		want [][]byte
	}{
		"nothing":            {nil, nil},
		"an object":          {one, [][]byte{one}},
		"the other order":    {two, [][]byte{two}},
		"in a program":       {join(bpfObject(binary.LittleEndian, elf.EM_X86_64, "x"), one, []byte("\x7fEL"), two, one), [][]byte{one, two, one}},
		"cut off":            {one[:len(one)-1], nil},
		"only the magic":     {[]byte(elf.ELFMAG), nil},
		"32 bits":            {damaged(elf.EI_CLASS, 1), nil},
		"no order":           {damaged(elf.EI_DATA, 0), nil},
		"a program":          {damaged(16, byte(elf.ET_EXEC)), nil},
		"no sections":        {damaged(60, 0), nil},
		"far headers":        {damaged(47, 0xff), nil},
		"a far section":      {damaged(len(one)-sectionHeaderSize+31, 0xff), nil},
		"a large section":    {damaged(len(one)-sectionHeaderSize+39, 0xff), nil},
		"one in a damaged":   {join(damaged(elf.EI_CLASS, 1), two), [][]byte{two}},
		"magic before magic": {join([]byte(elf.ELFMAG), one), [][]byte{one}},
	} {
		assert.Check(t, is.DeepEqual(embedded(test.in), test.want), name)
	}
}

func FuzzEmbedded(f *testing.F) {
	f.Add(little("one"))
	f.Add(slices.Concat([]byte("before"), little("one"), bpfObject(binary.BigEndian, elf.EM_BPF, "two")))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		for _, object := range embedded(data) {
			assert.Equal(t, objectSize(object), len(object))
			total += len(object)
		}
		assert.Assert(t, total <= len(data))
	})
}

// fakeArchive has packages of files, by suite and name.
type fakeArchive struct {
	packages map[string]map[string]map[string][]byte
	gone     string // a package that is only in the index
	fail     error
	asked    []string // suites
	read     []string // packages
}

func (a *fakeArchive) Packages(_ context.Context, _ string, suites []string, names ...string) ([]vmimage.Package, error) {
	a.asked = append(a.asked, suites...)
	if a.fail != nil {
		return nil, a.fail
	}
	var out []vmimage.Package
	for _, name := range names {
		if files, ok := a.packages[suites[0]][name]; ok {
			out = append(out, vmimage.Package{Name: name, Version: "2-1", Suite: suites[0], SHA256: fmt.Sprint(suites[0], name, files)})
			out = append(out, vmimage.Package{Name: name, Version: "1-1", Suite: suites[0], SHA256: "old"})
		}
	}
	if out == nil {
		return nil, fmt.Errorf("%w in %s is called so", vmimage.ErrNoPackage, suites[0])
	}
	return out, nil
}

func (a *fakeArchive) ReadPackage(_ context.Context, p *vmimage.Package, fn func(*tar.Header, io.Reader) error) error {
	a.read = append(a.read, p.Suite+"-"+p.Name)
	if p.Name == a.gone {
		return fmt.Errorf("%s: %w", p.Name, fetch.ErrGone)
	}
	files := a.packages[p.Suite][p.Name]
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Size: int64(len(files[name]))}
		if err := fn(h, strings.NewReader(string(files[name]))); err != nil {
			return err
		}
	}
	return nil
}

// fakeGo prints the directory of a module, and logs its command line.
const fakeGo = `#!/bin/sh
echo "$*" >>'%[1]s/asked'
if [ -e '%[1]s/fails' ]; then
	echo '{"Path": "x", "Error": "module lookup disabled"}'
	exit 1
fi
echo '{"Path": "x", "Dir": "%[1]s/module", "Sum": "h1:x"}'
`

type wildFixture struct {
	*wild
	archive *fakeArchive
	goDir   string
}

func newWild(t *testing.T) *wildFixture {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, data, mode))
	}
	write("bin/go", fmt.Appendf(nil, fakeGo, dir), 0o755)
	write("module/testdata/a-el.elf", little("a"), 0o644)
	write("module/testdata/a-eb.elf", bpfObject(binary.BigEndian, elf.EM_BPF, "a"), 0o644)
	write("module/testdata/a.c", []byte("int a;"), 0o644)
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	t.Cleanup(func() { store.Close() })
	archive := &fakeArchive{packages: map[string]map[string]map[string][]byte{
		"old": {"tools": {
			"usr/lib/x/one.o": little("one"), "usr/lib/x/one.bpf": little("other"), "usr/lib/x/y/o ne.bpf.o": little("space"),
			"usr/lib/x.o": little("elsewhere"), "usr/lib/x/../../z.o": little("up"),
			"usr/lib/x/prog": slices.Concat([]byte("\x7fELF"), little("in"), little("a"), little("last")),
		}},
		"new": {"tools": {"usr/lib/x/one.o": little("one")}, "none": {"usr/lib/x/text": []byte("text")}, "left": {}},
	}}
	w := &wild{Options: Options{Store: store}, archive: archive, version: "v1", packages: []wildPackage{
		{"old", "tools", "usr/lib/x"}, {"new", "tools", "usr/lib/x"}, {"new", "none", "usr/lib/x"}, {"new", "never", "usr"},
		{"new", "left", "usr"}, {"lost", "tools", "usr"},
	}}
	archive.gone = "left"
	w.defaults()
	return &wildFixture{wild: w, archive: archive, goDir: dir}
}

// askedGo returns the command lines of go since the last call.
func (w *wildFixture) askedGo(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.goDir, "asked"))
	if !os.IsNotExist(err) {
		assert.NilError(t, err)
		assert.NilError(t, os.Remove(filepath.Join(w.goDir, "asked")))
	}
	return string(data)
}

func TestWild(t *testing.T) {
	w := newWild(t)
	ticks := 0
	w.Tick = func(done, of int) { ticks++; assert.Check(t, done == ticks && of == 7) }
	c, err := w.fetch(t.Context())
	assert.NilError(t, err)
	assert.Check(t, is.Equal(ticks, 7))
	assert.Check(t, is.Equal(w.askedGo(t), "mod download -json "+wildModule+"@v1\n"))
	assert.Check(t, is.DeepEqual(w.archive.asked, []string{"old", "new", "lost"}))
	assert.Check(t, is.DeepEqual(w.archive.read, []string{"old-tools", "new-tools", "new-none", "new-left"}))

	var names []string
	for _, o := range c.Compiled(w.Store) {
		names = append(names, o.Name)
		data, err := os.ReadFile(o.File)
		assert.NilError(t, err)
		assert.Check(t, is.Equal(objectSize(data), len(data)), o.Name)
	}
	// Identical objects are listed once.
	assert.Check(t, is.DeepEqual(names, []string{
		"cilium-ebpf-testdata-a-eb", "cilium-ebpf-testdata-a-el",
		"old-tools-one", "old-tools-one-2", "old-tools-prog", "old-tools-prog-3", "old-tools-y-o_ne",
	}))
	said := make(map[string]string)
	for _, p := range c.Parts {
		said[p.Name] = p.Error
	}
	assert.Check(t, is.DeepEqual(said, map[string]string{
		wildModulePrefix: "", "old-tools": "", "new-tools": "", "new-none": "holds no BPF object",
		"new-never": "no package in new is called never", "new-left": "left: not there (404)", "lost-tools": "no package in lost is called so",
	}))

	// The second time nothing is requested, and nothing of it is pruned.
	_, err = w.Store.Prune(false)
	assert.NilError(t, err)
	w.archive.fail = errors.New("offline")
	w.done, ticks = 0, 0
	again, err := w.fetch(t.Context())
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(again, c))
	assert.Check(t, is.Equal(w.askedGo(t), ""))

	// An update needs the archive; without it the old parts stay.
	w.Update, w.done, ticks = true, 0, 0
	_, err = w.fetch(t.Context())
	assert.ErrorContains(t, err, "offline")
	kept, err := Read(w.Store, nameWild, "")
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(kept, c))
}

// Failures leave nothing that a later run would use.
func TestWildFails(t *testing.T) {
	w := newWild(t)
	assert.NilError(t, os.WriteFile(filepath.Join(w.goDir, "fails"), nil, 0o644))
	_, err := w.fetch(t.Context())
	assert.ErrorContains(t, err, wildModule+" v1: go mod download: module lookup disabled")
	assert.NilError(t, os.Remove(filepath.Join(w.goDir, "fails")))

	ctx, cancel := context.WithCancel(t.Context())
	w.Tick = func(done, _ int) {
		if done == 2 {
			cancel()
		}
	}
	w.done = 0
	_, err = w.fetch(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = Read(w.Store, nameWild, "")
	assert.ErrorIs(t, err, ErrNotFetched)
	temps, err := os.ReadDir(filepath.Join(w.Store.Cache().SuitePath(".."), "tmp"))
	assert.NilError(t, err)
	assert.Check(t, is.Len(temps, 0))

	w.Tick, w.done, w.archive.read = func(int, int) {}, 0, nil
	_, err = w.fetch(t.Context())
	assert.NilError(t, err)

	w.version = ""
	_, err = w.fetch(t.Context())
	assert.ErrorContains(t, err, "does not know which version")
	_, err = Fetch(t.Context(), "no", w.Options)
	assert.ErrorContains(t, err, "no suite is called no: there are kernel, wild")
}

// The names of all parts differ.
func TestWildPackages(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range wildPackages {
		name := p.suite + "-" + p.name
		assert.Check(t, !seen[name], name)
		seen[name] = true
		assert.Check(t, p.dir != "" && !strings.HasPrefix(p.dir, "/") && !strings.HasSuffix(p.dir, "/"), name)
	}
}
