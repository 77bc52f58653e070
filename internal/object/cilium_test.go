package object

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// ciliumKnows has the objects of cilium/ebpf's testdata that the two readers disagree about, and
// why. An unneeded entry fails the test.
var ciliumKnows = map[string]string{
	"fwd_decl-el.elf":             "extern function without __ksym: libbpf refuses it, cilium/ebpf calls it by name",
	"tags-el.elf":                 "extern function without __ksym",
	"invalid_map-el.elf":          "legacy maps section",
	"iproute2_map_compat-el.elf":  "legacy maps section",
	"linked-el.elf":               "legacy maps section",
	"linked1-el.elf":              "legacy maps section",
	"linked2-el.elf":              "legacy maps section",
	"manyprogs-el.elf":            "legacy maps section",
	"subprog_reloc-el.elf":        "legacy maps section",
	"loader-clang-14-el.elf":      "legacy maps section, and a static function in a section of its own",
	"loader-clang-17-el.elf":      "legacy maps section, and a static function in a section of its own",
	"loader-clang-22-el.elf":      "legacy maps section, and a static function in a section of its own",
	"loader_nobtf-el.elf":         "legacy maps section, and a static function in a section of its own",
	"invalid_btf_map_init-el.elf": "cilium/ebpf refuses variables with an initialiser",
}

func ciliumTestdata(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	if err != nil {
		t.Skipf("cannot find the sources of github.com/cilium/ebpf: %v", err)
	}
	dir := strings.TrimSpace(string(out))
	var files []string
	for _, pattern := range []string{"testdata/*-el.elf", "btf/testdata/*-el.elf"} {
		more, err := filepath.Glob(filepath.Join(dir, pattern))
		assert.NilError(t, err)
		files = append(files, more...)
	}
	if len(files) == 0 {
		t.Skipf("no objects in %s", dir)
	}
	return files
}

// TestAgainstCilium compares with an independent reader.
func TestAgainstCilium(t *testing.T) {
	files := append(ciliumTestdata(t), testObjects(t, "*.o")...)
	compared := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			reason, known := ciliumKnows[filepath.Base(file)]
			if strings.HasPrefix(file, "testdata") {
				reason, known = ciliumRefuses[filepath.Base(file)]
			}
			o, ours := Open(file)
			spec, theirs := ebpf.LoadCollectionSpec(file)
			if ours == nil && theirs == nil {
				assert.Assert(t, !known, "both read it, so it should not be listed: %s", reason)
				compareSpecs(t, o, spec)
				compared++
				return
			}
			assert.Assert(t, known || ours != nil && theirs != nil, "ours: %v\ncilium/ebpf: %v", ours, theirs)
			assert.Assert(t, !known || (ours == nil) != (theirs == nil), "both refuse it, so it should not be listed: %v; %v", ours, theirs)
		})
	}
	assert.Assert(t, compared >= 15, "compared only %d objects", compared)
}

// ciliumRefuses are our own objects that cilium/ebpf does not read.
var ciliumRefuses = map[string]string{
	"arena.o":     "arena globals in .addr_space.1",
	"data.o":      ".bss.NAME sections",
	"externs.o":   "typed ksyms, const void ksyms, weak kconfig values",
	"linked.o":    "static functions of the same name",
	"maps.o":      "key numa_node",
	"structops.o": "section .struct_ops",
}

// ciliumLinks has programs that cilium/ebpf links with other functions.
var ciliumLinks = map[string]string{
	"two": "the address of a global function (by its symbol, imm 0) becomes that of the first function in .text",
}

// ciliumSections has patterns that are newer than cilium/ebpf's table.
var ciliumSections = []string{"fentry.multi+"}

func compareSpecs(t *testing.T, o *Object, spec *ebpf.CollectionSpec) {
	maps := 0
	for i := range o.Maps {
		m := &o.Maps[i]
		if m.Kind == MapKconfig || m.Kind == MapStructOps && m.Section != secLink {
			continue // not in a CollectionSpec
		}
		key := m.Name
		if m.Kind != MapUser && m.Kind != MapStructOps {
			key = m.Section
		}
		theirs := spec.Maps[key]
		assert.Assert(t, theirs != nil, "map %s", key)
		compareMap(t, o, m, theirs)
		maps++
	}
	assert.Equal(t, len(spec.Maps), maps)

	programs := 0
	for i := range o.Functions {
		f := &o.Functions[i]
		if f.Subprog {
			continue
		}
		programs++
		theirs := spec.Programs[f.Name]
		assert.Assert(t, theirs != nil, "program %s", f.Name)
		compareProgram(t, o, i, theirs)
	}
	assert.Equal(t, len(spec.Programs), programs)
}

func compareMap(t *testing.T, o *Object, m *Map, theirs *ebpf.MapSpec) {
	t.Helper()
	assert.Equal(t, uapi.MapType(theirs.Type), m.Type, m.Name)
	assert.Equal(t, theirs.MaxEntries, m.MaxEntries, m.Name)
	assert.Equal(t, uint32(theirs.Pinning), m.Pinning, m.Name)
	assert.Equal(t, theirs.MapExtra, m.Extra, m.Name)
	if m.Kind == MapStructOps {
		return // sizes come from the kernel's type
	}
	assert.Equal(t, theirs.KeySize, m.KeySize, m.Name)
	assert.Equal(t, theirs.ValueSize, m.ValueSize, m.Name)
	mask := uint32(0)
	if m.Kind != MapUser {
		mask = unix.BPF_F_MMAPABLE // cilium/ebpf sets it on all data maps
	}
	assert.Equal(t, uint32(theirs.Flags)&^mask, m.Flags&^mask, m.Name)
	if m.Kind != MapUser {
		data, _, err := dataOf(theirs)
		assert.NilError(t, err)
		assert.DeepEqual(t, data, m.Value())
	}
	if m.Inner != nil {
		assert.Assert(t, theirs.InnerMap != nil, m.Name)
		compareMap(t, o, m.Inner, theirs.InnerMap)
	}
	if m.Slots != nil {
		assert.Equal(t, len(theirs.Contents), len(m.Slots), m.Name)
		for i, kv := range theirs.Contents {
			target := o.Maps
			assert.Equal(t, kv.Key.(uint32), m.Slots[i].Index)
			if m.Type == uapi.MapProgArray {
				assert.Equal(t, kv.Value.(string), o.Functions[m.Slots[i].Target].Name)
			} else {
				assert.Equal(t, kv.Value.(string), target[m.Slots[i].Target].Name)
			}
		}
	}
}

func dataOf(m *ebpf.MapSpec) ([]byte, bool, error) {
	if len(m.Contents) == 0 {
		return make([]byte, m.ValueSize), false, nil
	}
	data, ok := m.Contents[0].Value.([]byte)
	if !ok {
		return nil, false, os.ErrInvalid
	}
	return data, true, nil
}

func compareProgram(t *testing.T, o *Object, i int, theirs *ebpf.ProgramSpec) {
	t.Helper()
	f := &o.Functions[i]
	if slices.Contains(ciliumSections, f.Program.Pattern) || f.Program.Type == 0 {
		return // cilium/ebpf still takes "socket/x" and the like, which libbpf 1.0 dropped
	}
	assert.Equal(t, uapi.ProgType(theirs.Type), f.Program.Type, f.Name)
	assert.Equal(t, uapi.AttachType(theirs.AttachType), f.Program.AttachType, f.Name)
	assert.Equal(t, theirs.Flags, f.Program.Flags, f.Name)
	assert.Equal(t, strings.TrimPrefix(theirs.SectionName, "?"), f.Section, f.Name)
	assert.Equal(t, theirs.License, o.License)
	if f.Program.NeedsBTF {
		assert.Equal(t, theirs.AttachTo, f.Program.Attach, f.Name)
	}
	size := 0
	for fn := range reachable(o, i) {
		size += len(o.Functions[fn].Insns)
	}
	var raw uint64
	for _, ins := range theirs.Instructions {
		raw += uint64(ins.Size())
	}
	if reason := ciliumLinks[f.Name]; reason != "" {
		assert.Assert(t, int(raw) != size, "no longer so: %s", reason)
		return
	}
	assert.Equal(t, int(raw), size, "bytes of instructions of %s", f.Name)
}

// reachable returns a function and all functions that it calls or takes the address of.
func reachable(o *Object, fn int) map[int]bool {
	seen := map[int]bool{}
	var visit func(int)
	visit = func(n int) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, r := range o.Functions[n].Relocations {
			if r.Kind == RelocCall || r.Kind == RelocFunc {
				visit(r.Target)
			}
		}
	}
	visit(fn)
	return seen
}
