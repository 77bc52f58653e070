package object

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

func testObjects(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	assert.NilError(t, err)
	assert.Assert(t, len(files) > 0, "no testdata/%s", pattern)
	return files
}

func mustOpen(t testing.TB, name string) *Object {
	t.Helper()
	o, err := Open(filepath.Join("testdata", name))
	assert.NilError(t, err)
	return o
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	assert.NilError(t, err)
	return raw
}

// TestGolden compares everything that is read from each object with golden files, whose content was
// checked against libbpf 1.8.
func TestGolden(t *testing.T) {
	for _, file := range testObjects(t, "*.o") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o, err := Open(file)
			assert.NilError(t, err)
			golden.Assert(t, dump(o), strings.TrimSuffix(filepath.Base(file), ".o")+".golden")
		})
	}
}

func TestDeterministic(t *testing.T) {
	for _, file := range testObjects(t, "*.o") {
		raw := readFile(t, file)
		first, err := OpenBytes(raw, file)
		assert.NilError(t, err)
		want := dump(first)
		for range 5 {
			again, err := OpenReader(bytes.NewReader(raw), int64(len(raw)), "/elsewhere/"+filepath.Base(file))
			assert.NilError(t, err)
			assert.Equal(t, dump(again), want)
		}
	}
}

func TestInputIsNotKept(t *testing.T) {
	for _, file := range testObjects(t, "*.o") {
		raw := readFile(t, file)
		o, err := OpenBytes(raw, file)
		assert.NilError(t, err)
		want := dump(o)
		for i := range raw {
			raw[i] = 0xa5
		}
		assert.Equal(t, dump(o), want)
	}
}

// TestTruncated truncates real objects at every length. The section headers are at the end, so only
// the whole file can be read.
func TestTruncated(t *testing.T) {
	for _, file := range testObjects(t, "*.o") {
		raw := readFile(t, file)
		for n := range len(raw) {
			_, err := OpenBytes(raw[:n:n], file)
			assert.Assert(t, err != nil, "%s: %d of %d bytes", file, n, len(raw))
			if n == 0 {
				assert.ErrorIs(t, err, ErrEmpty)
			} else {
				assert.ErrorIs(t, err, ErrTruncated)
			}
		}
		_, err := OpenReader(bytes.NewReader(raw), int64(len(raw))+1, file)
		assert.ErrorIs(t, err, ErrTruncated)
	}
}

func TestWrongFiles(t *testing.T) {
	good := readFile(t, "testdata/maps.o")
	patched := func(at int, b ...byte) []byte {
		raw := slices.Clone(good)
		copy(raw[at:], b)
		return raw
	}
	tests := []struct {
		name string
		raw  []byte
		err  error
		text string
	}{
		{"empty", nil, ErrEmpty, "empty"},
		{"text", []byte("int main(void)\n{}\n"), ErrNotELF, `"int main(void)"`},
		{"binary", []byte{0xff, 0xfe, 0, 1, 2, 3, 4, 5}, ErrNotELF, "ff fe 00"},
		{"short magic", []byte("\x7fEL"), ErrTruncated, "3 bytes"},
		{"header only", good[:20], ErrTruncated, "20 bytes"},
		{"32-bit", patched(4, 1), ErrClass, "class is 1"},
		{"big-endian", patched(5, 2), ErrBigEndian, "bpfel"},
		{"no byte order", patched(5, 0), ErrMalformed, "byte order 0"},
		{"x86", patched(18, 62, 0), ErrMachine, "machine is 62"},
		{"executable", patched(16, 2, 0), ErrNotRelocatable, "type is 2"},
		{"no sections", patched(40, make([]byte, 8)...), ErrMalformed, "no section headers"},
		{"sections far away", patched(40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrTruncated, "section headers"},
		{"many sections", patched(60, 0xff, 0xff), ErrTruncated, "65535 section headers"},
		{"no section names", patched(62, 0xfe, 0), ErrMalformed, "section 254"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := OpenBytes(tt.raw, "some/dir/prog.bpf.o")
			assert.Assert(t, o == nil)
			assert.ErrorIs(t, err, tt.err)
			assert.ErrorContains(t, err, `object "some/dir/prog.bpf.o": `)
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

func TestOpenPaths(t *testing.T) {
	_, err := Open("testdata/missing.o")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open("testdata")
	assert.ErrorContains(t, err, "directory")
}

// TestRefused: libbpf does not open any object in testdata/refused.
func TestRefused(t *testing.T) {
	tests := map[string]struct {
		err                   error
		section, symbol, text string
	}{
		"arena_data":            {ErrMalformed, "xdp", "prog", "arena map"},
		"call_section":          {ErrMalformed, "xdp", "prog", ".text"},
		"data_section":          {ErrMalformed, "xdp", "prog", `"nowhere"`},
		"extern_section":        {ErrUnsupported, "", "x", `".somewhere"`},
		"extern_undeclared":     {ErrMalformed, "", "x", `declared and not defined, and used by "prog" in section "xdp": link the object`},
		"extra_enum":            {ErrMalformed, ".maps", "m", `"map_extra"`},
		"inner_nested":          {ErrUnsupported, ".maps", "m", "one level"},
		"inner_pinned":          {ErrMalformed, ".maps", "m", "pinned"},
		"kconfig_type":          {ErrUnsupported, "", "CONFIG_X", "struct"},
		"key_fwd":               {nil, ".maps", "m", `"key"`},
		"key_int_by_value":      {ErrMalformed, ".maps", "m", `"type": malformed object: int instead of a pointer`},
		"key_int_pointer":       {ErrMalformed, ".maps", "m", "__uint"},
		"key_no_type":           {ErrMalformed, ".maps", "m", "type is not given"},
		"key_size_conflict":     {ErrMalformed, ".maps", "m", "4 conflicts with 8"},
		"key_type_by_value":     {ErrMalformed, ".maps", "m", "__type"},
		"key_unknown":           {ErrUnsupported, ".maps", "m", `"colour"`},
		"legacy_maps":           {ErrLegacyMaps, "maps", "", `SEC(".maps")`},
		"pinning_value":         {ErrUnsupported, ".maps", "m", "pinning value 2"},
		"slot_long_key":         {ErrUnsupported, ".maps", "in", "8 bytes"},
		"slot_of_other_map":     {ErrMalformed, ".maps", "variable", "not a map"},
		"slot_subprogram":       {ErrMalformed, ".maps", "sub", "no such program"},
		"static_map":            {ErrUnsupported, ".maps", "m", "static"},
		"static_program":        {ErrUnsupported, "xdp", "entry", "static"},
		"structops_anonymous":   {ErrUnsupported, ".struct_ops", "o", "without a name"},
		"structops_member":      {ErrMalformed, ".struct_ops", "prog", `"data"`},
		"structops_not_program": {ErrMalformed, ".struct_ops", "prog", `"init"`},
		"two_arenas":            {ErrUnsupported, ".maps", "n", `"m"`},
		"value_size_conflict":   {ErrMalformed, ".maps", "m", "8 conflicts with 4"},
		"values_not_last":       {ErrMalformed, ".maps", "m", "last"},
		"values_of_int":         {ErrMalformed, ".maps", "m", "not a struct"},
		"values_sized":          {ErrMalformed, ".maps", "m", "size zero"},
		"values_value_size":     {ErrMalformed, ".maps", "m", "4 conflicts with 8"},
		"values_wrong_type":     {ErrUnsupported, ".maps", "m", "PROG_ARRAY"},
	}
	files := testObjects(t, "refused/*.o")
	assert.Equal(t, len(files), len(tests), "objects and expectations differ in number")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".o")
		t.Run(name, func(t *testing.T) {
			want, ok := tests[name]
			assert.Assert(t, ok, "no expectation for %s", name)
			_, err := Open(file)
			assert.ErrorContains(t, err, want.text)
			if want.err != nil {
				assert.ErrorIs(t, err, want.err)
			}
			var e *Error
			assert.Assert(t, errors.As(err, &e))
			assert.Equal(t, e.Object, objectName(file))
			assert.Equal(t, e.Section, want.section)
			assert.Equal(t, e.Symbol, want.symbol)
		})
	}
}

func TestDataMapName(t *testing.T) {
	tests := []struct{ object, section, want string }{
		{"my_object_name", ".rodata", "my_objec.rodata"},
		{"my_object_name", ".bss", "my_objec.bss"},
		{"my_object_name", ".data", "my_objec.data"},
		{"my_object_name", ".kconfig", "my_obje.kconfig"},
		{"a", ".rodata", "a.rodata"},
		{"obj", ".rodata.abracadabra", ".rodata.abracad"},
		{"obj", ".data.x", ".data.x"},
		{"obj-1", ".bss", "obj_1.bss"},
		{"obj", ".rodata.s-1", ".rodata.s_1"},
		{"", ".data", ".data"},
	}
	for _, tt := range tests {
		assert.Equal(t, dataMapName(tt.object, tt.section), tt.want)
	}
}

func TestObjectName(t *testing.T) {
	for path, want := range map[string]string{
		"prog.bpf.o": "prog", "/a/b.c/prog.o": "prog", "a_name_longer_than_15.o": "a_name_longer_t", "noext": "noext",
	} {
		assert.Equal(t, objectName(path), want)
	}
}

func function(t testing.TB, o *Object, name string) *Function {
	t.Helper()
	i := slices.IndexFunc(o.Functions, func(f Function) bool { return f.Name == name })
	assert.Assert(t, i >= 0, "no function %s", name)
	return &o.Functions[i]
}

func TestAutoload(t *testing.T) {
	o := mustOpen(t, "structops.o")
	for name, want := range map[string]bool{
		"shared": true, "made_autoload": true, "only_optional": false, "unreferenced": false,
	} {
		assert.Equal(t, function(t, o, name).Autoload, want, name)
	}
	assert.Equal(t, o.Maps[0].StructOps.Type, "tcp_congestion_ops")
}

// TestFunctionErr: an error that libbpf finds when it loads a program does not affect the object's
// other programs.
func TestFunctionErr(t *testing.T) {
	o := mustOpen(t, "calls.o")
	throws := function(t, o, "throws")
	assert.NilError(t, throws.Err)
	assert.Equal(t, o.Functions[*throws.ExceptionCallback].Name, "on_exception")
	wrong := function(t, o, "throws_wrong")
	assert.ErrorContains(t, wrong.Err, "no_such_function")
	assert.Assert(t, wrong.ExceptionCallback == nil)
}

// TestHiddenIsStatic: the verifier checks a static subprogram with its caller.
func TestHiddenIsStatic(t *testing.T) {
	o := mustOpen(t, "calls.o")
	for name, want := range map[string]btf.Linkage{"hidden": btf.Static, "global": btf.Global, "weak": btf.Global} {
		f, err := o.BTF.Type(function(t, o, name).TypeID)
		assert.NilError(t, err)
		assert.Equal(t, f.Name, name)
		assert.Equal(t, f.Linkage, want, name)
	}
}

// TestLinked: a static linker leaves static functions of the same name, the code of weak functions
// that lost, and one of several definitions of a map.
func TestLinked(t *testing.T) {
	o := mustOpen(t, "linked.o")
	var helpers []int
	for i, f := range o.Functions {
		if f.Name == "helper" {
			helpers = append(helpers, i)
			assert.Equal(t, o.BTF.TypeName(f.TypeID), "helper")
		}
	}
	assert.Equal(t, len(helpers), 2)
	calls := func(name string) (targets []int) {
		for _, r := range function(t, o, name).Relocations {
			if r.Kind == RelocCall {
				targets = append(targets, r.Target)
			}
		}
		return targets
	}
	a, b := calls("prog_a"), calls("prog_b")
	assert.Equal(t, o.Functions[a[0]].Name, "choose")
	assert.Equal(t, a[0], b[0], "both programs call the function that won")
	assert.DeepEqual(t, []int{a[1], b[1]}, helpers)
	assert.Assert(t, is.Len(o.Maps, 2), "the two definitions of shared_map are one map, beside .data")
}

func TestTooLarge(t *testing.T) {
	raw := readFile(t, "testdata/data.o")
	_, err := open(raw, "data.o", 64, LibbpfRules)
	assert.ErrorIs(t, err, ErrTooLarge)
}

// TestReported: objects of public bug reports are refused with the cause and the next step.
func TestReported(t *testing.T) {
	for file, tt := range map[string]struct {
		err  error
		text string
	}{
		"kconfig_other.o": {ErrUnsupported, `"SOMETHING_ELSE": extern: not supported: a kconfig variable is named CONFIG_* or is one of LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE, LINUX_HAS_SYSCALL_WRAPPER (libbpf: unrecognized virtual extern)`},
		"cold.o":          {ErrMalformed, `section "socket": "run": instruction 3: relocation against "rare": malformed object: calls can only go to functions in .text, and this one is in ".text.unlikely."; the compiler puts functions there that have __attribute__((cold))`},
		"hiddenmap.o":     {ErrUnsupported, `section ".maps": "m": not supported: map is hidden (libbpf: unsupported map linkage static); compile without -fvisibility=hidden`},
		"kfunc_noksym.o":  {ErrMalformed, `"bpf_rcu_read_lock": extern: malformed object: it is declared and not defined, and used by "run" in section "tc": link the object that defines it (bpftool gen object), or add __ksym if it is the kernel's (a kfunc)`},
		"link1.o":         {ErrMalformed, `"other_fn": extern: malformed object: it is declared and not defined, and used by "run" in section "socket": link the object`},
	} {
		_, err := Open("testdata/reported/" + file)
		assert.ErrorIs(t, err, tt.err, file)
		assert.ErrorContains(t, err, tt.text)
		assert.ErrorContains(t, err, `object "testdata/reported/`+file+`": `)
	}
}

// named returns an object of testdata in which another name of the same length replaces a name in
// BTF and symbols.
func named(t *testing.T, file, name, other string) []byte {
	t.Helper()
	assert.Equal(t, len(name), len(other))
	raw := readFile(t, "testdata/"+file)
	assert.Assert(t, bytes.Contains(raw, []byte(name)), name)
	return bytes.ReplaceAll(raw, []byte(name), []byte(other))
}

// TestKconfigNames: the names that libbpf fills in, and weak ones that it may fill in later.
func TestKconfigNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"CONFIG_SOMETHI": true, "LINUX_SOMETHIN": true, "LINUXSOMETHING": false, "config_somethi": false, "XCONFIG_SOMETH": false,
	} {
		_, err := OpenBytes(named(t, "reported/kconfig_other.o", "SOMETHING_ELSE", name), "x")
		assert.Equal(t, err == nil, ok, "%s: %v", name, err)
	}
	o := mustOpen(t, "externs.o")
	i := slices.IndexFunc(o.Externs, func(e Extern) bool { return e.Name == "LINUX_KERNEL_VERSION" && !e.Weak })
	assert.Assert(t, i >= 0)
	_, err := OpenBytes(named(t, "externs.o", "LINUX_KERNEL_VERSION", "LINUX_KERNEL_VERSIOM"), "x")
	assert.ErrorContains(t, err, "unrecognized virtual extern")
}

// TestUsers: the error about a function that is declared and not defined names its callers.
func TestUsers(t *testing.T) {
	b := &elfBuilder{}
	gone := uint64(b.symbol(builtSymbol{name: "gone", bind: bindGlobal}))
	for _, section := range []string{"xdp", "tc", "socket", "sk_msg", "sk_skb"} {
		s := b.code(section, callInsn(-1), callInsn(-1), exitInsn)
		b.function("in_"+section, s)
		b.relocate(s, 0, gone, 8, gone)
	}
	types := readFile(t, "testdata/maps.o")
	f, err := parseELF(types)
	assert.NilError(t, err)
	blob, err := f.contents(f.byName(secBTF))
	assert.NilError(t, err)
	b.data(secBTF, blob)
	for _, name := range []string{secMaps, "license"} { // what that BTF lists besides
		b.data(name, make([]byte, 8))
	}
	_, err = OpenBytes(b.bytes(), "x")
	assert.ErrorContains(t, err, `"gone": extern: malformed object: it is declared and not defined, and used by "in_xdp" in section "xdp", "in_tc" in section "tc", "in_socket" in section "socket", 2 more`)
}

// TestSizeless: a map without a size gives a warning if only user space can set one.
func TestSizeless(t *testing.T) {
	o := &opener{obj: &Object{}}
	m := Map{Name: "m", Type: uapi.MapArray}
	o.warnOfSize(&m)
	m.MaxEntries = 1
	o.warnOfSize(&m)
	m = Map{Name: "outer", Type: uapi.MapHashOfMaps, MaxEntries: 1, Inner: &Map{Name: "outer.inner", Type: uapi.MapArray}}
	o.warnOfSize(&m)
	for _, zero := range sizeless {
		o.warnOfSize(&Map{Name: "zero", Type: zero})
	}
	warnings := o.obj.Warnings
	assert.Equal(t, len(warnings), 2)
	assert.Assert(t, is.Contains(warnings[0].String(), `section ".maps": "m": max_entries is 0; no kernel makes such a map: declare __uint(max_entries, N), or set it before the load`))
	assert.Assert(t, is.Contains(warnings[1].String(), `"outer.inner": max_entries is 0`))
}
