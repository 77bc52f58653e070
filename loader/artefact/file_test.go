package artefact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

var write = flag.Bool("write", false, "write testdata/v1.bpfreplay anew, which old versions have written")

// full returns an artefact in which each field is set.
func full() *Artefact {
	blob := make([]byte, 512)
	for i := range blob {
		blob[i] = byte(i)
	}
	return &Artefact{
		Object: "full", License: "Dual BSD/GPL", Insns: bytes.Repeat([]byte{0x95, 0, 0, 0, 0, 0, 0, 0}, 3), Blob: blob, Context: 200,
		Maps: []Map{
			{
				Name: ".data", Kind: "data", Type: "ARRAY", KeySize: 4, ValueSize: 16, MaxEntries: 1, Flags: 1 << 10, Extra: 7, Mmapable: true, ReadOnly: true,
				Pinned: true, FD: CtxMap(0), Attr: Range{8, 72}, Delta: 4, Value: Range{80, 16}, Update: 96,
				Variables: []Variable{{"first", 0, 4}, {"rest", 4, 12}},
			},
			{
				Name: "arena", Kind: "user", Type: "ARENA", MaxEntries: 100, FD: CtxMap(1), Attr: Range{128, 72}, Delta: 200,
				Arena: true, Data: Range{204, 20}, Globals: []int{224, 228},
			},
		},
		Programs: []Program{
			{"run", "xdp", "XDP", "XDP", CtxProgram(2, 0), 160, 64, Range{232, 72}, "module", ""},
			{"instead", "freplace", "EXT", "CGROUP_INET_INGRESS", CtxProgram(2, 1), 0, 80, Range{304, 116}, "", "function"},
		},
		Steps: []Step{{"map .data", "MAP_CREATE", CtxMap(0), ""}, {"map .data", "MAP_UPDATE_ELEM", 96, ".data"}},
		Settings: []Setting{
			{Kind: "cpus", Offset: 100, Size: 4},
			{Kind: "kconfig", Offset: 104, Size: 16, Kconfig: []Kconfig{{"CONFIG_HZ", 4, 4, "int", true, true}}},
			{Kind: "member", Offset: 120, Size: 4, StructOps: &StructOps{"ops", []Member{{"f", "ptr", 8, true}}}, Member: "f"},
			{Kind: "mismatch", Offset: 124, Size: 4, Function: "bpf_f", Prototype: 3},
		},
		Needs: []Need{{"core_kernel", "program run: CO-RE relocations"}},
		Types: Range{424, 64},
	}
}

func marshal(t testing.TB, a *Artefact) []byte {
	t.Helper()
	file, err := a.MarshalBinary()
	assert.NilError(t, err)
	return file
}

// TestFull: full sets every field, and the manifest has every field.
func TestFull(t *testing.T) {
	set := make(map[string]bool)
	all := make(map[string]bool)
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		all[path] = true
		set[path] = set[path] || !v.IsZero()
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem(), path)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), path+"[]")
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	}
	walk(reflect.ValueOf(full()).Elem(), "")
	delete(all, ".Signed") // Signed is another section, with tests of its own
	for path := range all {
		assert.Check(t, set[path], "%s is not set anywhere", path)
	}
	a, err := Parse(marshal(t, full()))
	assert.NilError(t, err)
	assert.DeepEqual(t, a, full())
}

// TestGolden: version 1 of the file format does not change.
func TestGolden(t *testing.T) {
	const path = "testdata/v1.bpfreplay"
	if *write {
		assert.NilError(t, os.WriteFile(path, marshal(t, full()), 0o644))
	}
	file, err := os.ReadFile(path)
	assert.NilError(t, err)
	a, err := Parse(file)
	assert.NilError(t, err)
	assert.DeepEqual(t, a, full())
	assert.Assert(t, bytes.Equal(marshal(t, a), file), "the same artefact gives another file")

	var b bytes.Buffer
	assert.NilError(t, a.WriteManifest(&b))
	assert.Assert(t, bytes.Contains(file, b.Bytes()), "the manifest that is shown is not that of the file")
	b.Reset()
	assert.NilError(t, a.Explain(&b))
	for _, name := range []string{".data", "arena", "run", "instead", "MAP_UPDATE_ELEM", "CONFIG_HZ", "core_kernel"} {
		assert.Assert(t, strings.Contains(b.String(), name), "%s is not in\n%s", name, b.String())
	}
}

// The first files of version 1, without the fields added since, stay readable, and are written with
// the same bytes.
func TestFirstFile(t *testing.T) {
	file, err := os.ReadFile("testdata/v1-first.bpfreplay")
	assert.NilError(t, err)
	a, err := Parse(file)
	assert.NilError(t, err)
	want := full()
	for i := range want.Programs {
		want.Programs[i].Link = 0
	}
	assert.DeepEqual(t, a, want)
	assert.Assert(t, bytes.Equal(marshal(t, a), file), "the same artefact gives another file")
}

// refused checks that Parse refuses the bytes.
func refused(t testing.TB, file []byte, text string, args ...any) {
	t.Helper()
	a, err := Parse(file)
	assert.Check(t, errors.Is(err, ErrFormat), "%s: %v", fmt.Sprintf(text, args...), err)
	assert.Check(t, err == nil || a == nil, "%s: an artefact comes with the error", fmt.Sprintf(text, args...))
}

func TestTruncated(t *testing.T) {
	file := marshal(t, full())
	for n := range file {
		refused(t, file[:n], "%d bytes", n)
	}
	refused(t, append(bytes.Clone(file), 0), "one byte more")
	refused(t, nil, "nothing")
}

// TestHeader: Parse checks every byte of the header and between sections.
func TestHeader(t *testing.T) {
	file := marshal(t, full())
	_, err := Parse(file)
	assert.NilError(t, err)
	for i := range headerSize + 3*sectionSize {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(file)
			bad[i] ^= flip
			refused(t, bad, "byte %d of the header is %#x", i, bad[i])
		}
	}
	end := headerSize + 3*sectionSize
	gaps := 0
	for i := range 3 {
		h := file[headerSize+sectionSize*i:]
		off, size := int(binary.LittleEndian.Uint64(h[8:])), int(binary.LittleEndian.Uint64(h[16:]))
		for ; end < off; end++ {
			bad := bytes.Clone(file)
			bad[end] = 1
			refused(t, bad, "byte %d, between sections, is not zero", end)
			gaps++
		}
		end = off + size
	}
	assert.Assert(t, gaps > 0, "the manifest's length is a multiple of 8: change a name in full()")
}

type section struct {
	kind uint32
	data []byte
}

// file builds a file from sections.
func file(version uint32, sections ...section) []byte {
	out := append([]byte("\x89BPFREP\n"), make([]byte, 8+24*len(sections))...)
	binary.LittleEndian.PutUint32(out[8:], version)
	binary.LittleEndian.PutUint32(out[12:], uint32(len(sections)))
	for i, s := range sections {
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		h := out[16+24*i:]
		binary.LittleEndian.PutUint32(h, s.kind)
		binary.LittleEndian.PutUint64(h[8:], uint64(len(out)))
		binary.LittleEndian.PutUint64(h[16:], uint64(len(s.data)))
		out = append(out, s.data...)
	}
	return out
}

func sectionsOf(t testing.TB, a *Artefact) (manifest, insns, blob section) {
	t.Helper()
	var b bytes.Buffer
	assert.NilError(t, a.WriteManifest(&b))
	return section{1, b.Bytes()}, section{2, a.Insns}, section{3, a.Blob}
}

func TestSections(t *testing.T) {
	m, i, b := sectionsOf(t, full())
	assert.Assert(t, bytes.Equal(file(1, m, i, b), marshal(t, full())))
	for name, bad := range map[string][]byte{
		"version 0":             file(0, m, i, b),
		"version 2":             file(2, m, i, b),
		"none":                  file(1),
		"no manifest":           file(1, i, b),
		"no instructions":       file(1, m, b),
		"no blob":               file(1, m, i),
		"one more":              file(1, m, i, b, section{4, []byte("new")}),
		"kind 0":                file(1, m, i, b, section{0, nil}),
		"twice":                 file(1, m, i, b, b),
		"17 of them":            file(1, append(make([]section, 14), m, i, b)...),
		"empty instructions":    file(1, m, section{2, nil}, b),
		"half an instruction":   file(1, m, section{2, i.data[:12]}, b),
		"empty blob":            file(1, m, i, section{3, nil}),
		"blob of half a word":   file(1, m, i, section{3, append(bytes.Clone(b.data), 0, 0, 0, 0)}),
		"too many instructions": file(1, m, section{2, make([]byte, 8*(maxInsns+1))}, b),
	} {
		refused(t, bad, "%s", name)
	}
	a, err := Parse(file(1, b, i, m))
	assert.NilError(t, err, "in another order")
	assert.DeepEqual(t, a, full())
}

// TestManifest edits the manifest as JSON.
func TestManifest(t *testing.T) {
	m, i, b := sectionsOf(t, full())
	huge := float64(1 << 40)
	set := func(v any, path ...any) func(root any) {
		return func(root any) {
			at := root
			for _, step := range path[:len(path)-1] {
				switch step := step.(type) {
				case string:
					at = at.(map[string]any)[step]
				case int:
					at = at.([]any)[step]
				}
				if at == nil {
					panic(fmt.Sprint("no ", path))
				}
			}
			switch last := path[len(path)-1].(type) {
			case string:
				at.(map[string]any)[last] = v
			case int:
				at.([]any)[last] = v
			}
		}
	}
	edits := map[string]func(root any){
		"unknown field":                    set(1, "new"),
		"unknown field of a map":           set(1, "maps", 0, "new"),
		"unknown field of a setting":       set(1, "settings", 0, "new"),
		"unknown field of a member":        set(1, "settings", 2, "struct_ops", "members", 0, "new"),
		"another type":                     set("x", "context_size"),
		"a number that is none":            set(1.5, "context_size"),
		"context smaller than its header":  set(8, "context_size"),
		"context larger than a run takes":  set(1<<16, "context_size"),
		"context without the results":      set(96, "context_size"),
		"negative context":                 set(-1, "context_size"),
		"types behind the end":             set(500, "types", "offset"),
		"types of too many bytes":          set(huge, "types", "size"),
		"negative types":                   set(-8, "types", "offset"),
		"fd of a map":                      set(197, "maps", 0, "fd"),
		"negative fd of a map":             set(-4, "maps", 0, "fd"),
		"fd in the header":                 set(20, "maps", 0, "fd"),
		"setting in the header":            set(0, "settings", 0, "offset"),
		"attribute of a map":               set(450, "maps", 0, "attr", "offset"),
		"short attribute of a map":         set(43, "maps", 0, "attr", "size"),
		"delta":                            set(509, "maps", 0, "delta"),
		"negative delta":                   set(-1, "maps", 0, "delta"),
		"value":                            set(500, "maps", 0, "value", "offset"),
		"value of another size":            set(17, "maps", 0, "value", "size"),
		"value that is too long":           set(huge, "maps", 0, "value", "size"),
		"update":                           set(481, "maps", 0, "update"),
		"negative update":                  set(-1, "maps", 0, "update"),
		"variable":                         set(14, "maps", 0, "variables", 0, "offset"),
		"size of a variable":               set(13, "maps", 0, "variables", 1, "size"),
		"variable without end":             set(4294967295, "maps", 0, "variables", 1, "size"),
		"negative variable":                set(-1, "maps", 0, "variables", 1, "offset"),
		"data of an arena":                 set(500, "maps", 1, "arena", "data", "offset"),
		"reference to an arena":            set(509, "maps", 1, "arena", "globals", 1),
		"negative reference":               set(-4, "maps", 1, "arena", "globals", 0),
		"pin beside its directory":         set("../data", "maps", 0, "name"),
		"pin that is its directory":        set(".", "maps", 0, "name"),
		"pin without a name":               set("", "maps", 0, "name"),
		"fd of a program":                  set(198, "programs", 0, "fd"),
		"log of a program":                 set(185, "programs", 0, "log"),
		"negative log":                     set(-8, "programs", 0, "log"),
		"link of a program":                set(197, "programs", 0, "link"),
		"attribute of a program":           set(441, "programs", 0, "attr", "offset"),
		"short attribute of a program":     set(71, "programs", 0, "attr", "size"),
		"short attribute of a replacement": set(112, "programs", 1, "attr", "size"),
		"result":                           set(197, "steps", 0, "result"),
		"negative result":                  set(-1, "steps", 1, "result"),
		"setting":                          set(197, "settings", 0, "offset"),
		"setting of another size":          set(8, "settings", 0, "size"),
		"negative setting":                 set(-4, "settings", 1, "size"),
		"kconfig variable":                 set(13, "settings", 1, "kconfig", 0, "offset"),
		"kconfig variable of no size":      set(0, "settings", 1, "kconfig", 0, "size"),
		"kconfig variable without end":     set(4294967295, "settings", 1, "kconfig", 0, "size"),
		"member without a type":            set(nil, "settings", 2, "struct_ops"),
		"something behind it":              nil,
	}
	for name, edit := range edits {
		var root any
		assert.NilError(t, json.Unmarshal(m.data, &root))
		var text []byte
		var err error
		if edit != nil {
			edit(root)
		}
		text, err = json.Marshal(root)
		assert.NilError(t, err)
		if edit == nil {
			text = append(text, " {}"...)
		}
		refused(t, file(1, section{1, text}, i, b), "%s", name)
	}
	for _, text := range []string{"", "null", "[]", "{", "{}", `"x"`, "\x00", "\xff\xff"} {
		refused(t, file(1, section{1, []byte(text)}, i, b), "manifest %q", text)
	}
}

// endless is a file without an end. It counts the bytes read from it.
type endless struct {
	begin string
	read  int
}

func (e *endless) Open(string) (fs.File, error) { return e, nil }
func (e *endless) Stat() (fs.FileInfo, error)   { return nil, fs.ErrInvalid }
func (e *endless) Close() error                 { return nil }
func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.begin[min(e.read, len(e.begin)):])
	clear(b[n:])
	e.read += len(b)
	return len(b), nil
}

// TestOtherFiles: a file that is not an artefact is refused after its first bytes.
func TestOtherFiles(t *testing.T) {
	for _, begin := range []string{"", "\x7fELF\x02\x01\x01", "\x89BPFREP\r", "\x89PNG\r\n\x1a\n"} {
		e := &endless{begin: begin}
		_, err := ReadFS(e, "name")
		assert.ErrorIs(t, err, ErrFormat)
		assert.ErrorContains(t, err, "artefact name: ")
		assert.Assert(t, e.read <= len(magic), "%d bytes of a file that begins with %q", e.read, begin)
	}
	_, err := ReadFile("/dev/zero")
	assert.ErrorIs(t, err, ErrFormat)
	is, err := IsFile("/dev/zero")
	assert.NilError(t, err)
	assert.Assert(t, !is)

	dir := t.TempDir()
	path := filepath.Join(dir, "large")
	assert.NilError(t, os.WriteFile(path, []byte("\x7fELF"), 0o600))
	assert.NilError(t, os.Truncate(path, 1<<40)) // a sparse file: it takes no disk space
	_, err = ReadFile(path)
	assert.ErrorIs(t, err, ErrFormat)
	_, err = ReadFile(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = IsFile(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ReadFile(dir)
	assert.ErrorIs(t, err, ErrFormat)
	for _, short := range []string{"", "\x89", magic} {
		path := filepath.Join(dir, "short")
		assert.NilError(t, os.WriteFile(path, []byte(short), 0o600))
		_, err := ReadFile(path)
		assert.ErrorIs(t, err, ErrFormat)
		is, err := IsFile(path)
		assert.NilError(t, err)
		assert.Equal(t, is, short == magic)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	assert.NilError(t, os.WriteFile(path, marshal(t, full()), 0o600))
	a, err := ReadFile(path)
	assert.NilError(t, err)
	assert.DeepEqual(t, a, full())
	is, err := IsFile(path)
	assert.NilError(t, err)
	assert.Assert(t, is)
	a, err = ReadFS(fstest.MapFS{"b": {Data: marshal(t, full())}}, "b")
	assert.NilError(t, err)
	assert.DeepEqual(t, a, full())
}

func TestStepError(t *testing.T) {
	err := &StepError{Subject: "program p", Op: "PROG_LOAD", Err: unix.EACCES, Log: "0: (95) exit\nR0 !read_ok\nprocessed 1 insns\n"}
	assert.Equal(t, err.Error(), "program p: PROG_LOAD: EACCES: R0 !read_ok")
	assert.Equal(t, fmt.Sprintf("%v", err), err.Error())
	assert.Equal(t, fmt.Sprintf("%+v", err), err.Error()+"\n0: (95) exit\nR0 !read_ok\nprocessed 1 insns")
	assert.ErrorIs(t, err, unix.EACCES)
	err = &StepError{Subject: "map m", Op: "MAP_CREATE", Err: fmt.Errorf("more: %w", unix.ENOENT)}
	assert.Equal(t, fmt.Sprintf("%+v", err), "map m: MAP_CREATE: more: no such file or directory")
	need := &NeedError{Need: Need{"core_kernel", "program p"}, Err: unix.E2BIG}
	assert.ErrorIs(t, need, unix.E2BIG)
	assert.Equal(t, need.Error(), "this kernel lacks core_kernel, which program p needs: argument list too long")
}
