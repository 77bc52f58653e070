package object

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// TestAgainstSkeleton compares the names of maps and programs with those that
// bpftool puts into a skeleton.
func TestAgainstSkeleton(t *testing.T) {
	tool := need.Program(t, "bpftool")
	mapName := regexp.MustCompile(`(?m)^\s+(?:s->maps\[\d+\]\.|map->)name = "([^"]+)";$`)
	progName := regexp.MustCompile(`s->progs\[\d+\]\.name = "([^"]+)";`)
	// Objects that Debian 12's bpftool (libbpf 1.1) cannot read.
	skip := map[string]string{
		"arena.o":     "__ulong needs libbpf 1.5",
		"data.o":      "sections .bss.NAME need libbpf 1.7",
		"structops.o": `SEC("struct_ops.s") needs libbpf 1.2`,
	}
	checked := 0
	for _, file := range testObjects(t, "*.o") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o, err := Open(file)
			assert.NilError(t, err)
			if o.BTF == nil {
				t.Skip("a skeleton needs BTF")
			}
			out, err := exec.Command(tool, "gen", "skeleton", file).Output()
			if err != nil {
				reason, ok := skip[filepath.Base(file)]
				assert.Assert(t, ok, "bpftool gen skeleton: %v", err)
				t.Skip(reason)
			}
			checked++
			var maps, programs []string
			for _, m := range mapName.FindAllSubmatch(out, -1) {
				maps = append(maps, string(m[1]))
			}
			for _, m := range progName.FindAllSubmatch(out, -1) {
				programs = append(programs, string(m[1]))
			}
			var ourMaps, ourPrograms []string
			for _, m := range o.Maps {
				name := m.Name
				if name == m.Section[:min(len(m.Section), maxNameLen)] {
					name = m.Section // libbpf shows users the whole name of custom sections
				}
				ourMaps = append(ourMaps, name)
			}
			for _, f := range o.Functions {
				if !f.Subprog {
					ourPrograms = append(ourPrograms, f.Name)
				}
			}
			assert.DeepEqual(t, ourMaps, maps)
			assert.DeepEqual(t, ourPrograms, programs)
		})
	}
	assert.Assert(t, checked >= 5, "bpftool read only %d objects", checked)
}

// TestAgainstBTFDump compares kinds and names of all types with bpftool's.
func TestAgainstBTFDump(t *testing.T) {
	tool := need.Program(t, "bpftool")
	for _, file := range testObjects(t, "*.o") {
		o, err := Open(file)
		assert.NilError(t, err)
		if o.BTF == nil {
			continue
		}
		out, err := exec.Command(tool, "-j", "btf", "dump", "file", file).Output()
		assert.NilError(t, err)
		var theirs struct {
			Types []struct {
				ID   int
				Kind string
				Name string
				Size uint32 `json:"size"`
			}
		}
		assert.NilError(t, json.Unmarshal(out, &theirs))
		added := 0
		if slices.ContainsFunc(o.Externs, func(e Extern) bool { return e.Kind == ExternFunc }) {
			added = 1 // dummy_ksym
		}
		assert.Equal(t, o.BTF.NumTypes()-1, len(theirs.Types)+added, file)
		for _, want := range theirs.Types {
			got, err := o.BTF.Type(btf.TypeID(want.ID))
			assert.NilError(t, err)
			name := want.Name
			if name == "(anon)" {
				name = ""
			}
			assert.Equal(t, got.Name, name, "%s: type %d", file, want.ID)
			if got.Kind == btf.KindStruct {
				assert.Equal(t, want.Kind, "STRUCT")
				assert.Equal(t, got.Size, want.Size)
			}
		}
	}
}
