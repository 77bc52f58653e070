package core_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	cbtf "github.com/cilium/ebpf/btf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

const suite = "../../selftests/bpf"

// ciliumDir is where the sources of cilium/ebpf and its test objects are.
func ciliumDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("the sources of cilium/ebpf are not at hand: %v", err)
	}
	return dir
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		assert.NilError(t, err)
		files = append(files, found...)
	}
	return files
}

func recordsOf(f object.Function) []core.Record {
	records := make([]core.Record, len(f.CORE))
	for i, r := range f.CORE {
		records[i] = core.Record{
			InsnOff: uint32(r.Insn * insn.Size), TypeID: r.TypeID, AccessStr: r.AccessStrOff, Kind: core.Kind(r.Kind),
		}
	}
	return records
}

// TestObjectsAgainstKernel takes the suite's objects apart into single
// instructions with their records and has the kernel resolve each.
func TestObjectsAgainstKernel(t *testing.T) {
	kernel := vmlinux(t)
	needKernelCORE(t)
	target := core.NewTarget(kernel, nil)
	var tally tally
	for _, file := range glob(t, suite+"/*.bpf.o") {
		o, err := object.Open(file)
		if err != nil {
			continue // the suite has objects that are broken on purpose
		}
		tally.object(t, o, target)
	}
	t.Logf("%+v", tally)
	assert.Assert(t, tally.Same > 0, "nothing was compared")
}

func (n *tally) object(t *testing.T, o *object.Object, target *core.Target) {
	for _, f := range o.Functions {
		if len(f.CORE) == 0 {
			continue
		}
		fd, err := loadBTF(o.BTF.Raw())
		assert.NilError(t, err)
		for _, rec := range recordsOf(f) {
			at := rec.InsnOff
			end := at + insn.Size
			if f.Insns[at] == insn.LdImm64 {
				end += insn.Size
			}
			single := append(append(insn.Insns{}, f.Insns[at:end]...), exit...)
			rec.InsnOff = 0
			n.compare(t, fd, f.TypeID, o.BTF, core.New(o.BTF, target), single, rec)
		}
		closeFD(fd)
	}
}

// TestObjectsAgainstCilium has cilium/ebpf resolve whole functions, for the BTF
// of the kernel that is among its test data and for the objects themselves.
func TestObjectsAgainstCilium(t *testing.T) {
	dir := ciliumDir(t)
	kernel := gunzip(t, filepath.Join(dir, "btf/testdata/vmlinux.btf.gz"))
	compared := 0
	for _, file := range glob(t, suite+"/*.bpf.o", dir+"/testdata/*-el.elf", dir+"/btf/testdata/*-el.elf") {
		o, err := object.Open(file)
		if err != nil || o.BTF == nil {
			continue
		}
		theirs, err := ebpf.LoadCollectionSpec(file)
		if err != nil {
			continue // not every object is one for cilium/ebpf
		}
		for _, raw := range [][]byte{kernel, o.BTF.Raw()} {
			compared += againstCilium(t, o, theirs, raw)
		}
	}
	t.Logf("%d records give the same", compared)
	assert.Assert(t, compared > 0, "nothing was compared")
}

func gunzip(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.Open(path)
	assert.NilError(t, err)
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	assert.NilError(t, err)
	raw, err := io.ReadAll(r)
	assert.NilError(t, err)
	return raw
}

func againstCilium(t *testing.T, o *object.Object, theirs *ebpf.CollectionSpec, rawTarget []byte) int {
	t.Helper()
	parsed, err := btf.ParseKernel(rawTarget)
	assert.NilError(t, err)
	reference, err := cbtf.LoadSpecFromReader(bytes.NewReader(rawTarget))
	assert.NilError(t, err)
	resolver := core.New(o.BTF, core.NewTarget(parsed, nil))
	compared := 0
	for _, f := range o.Functions {
		p, ok := theirs.Programs[f.Name]
		if !ok || len(f.CORE) == 0 {
			continue
		}
		for _, rec := range recordsOf(f) {
			want, wantErr := ciliumFix(p.Instructions, int(rec.InsnOff/insn.Size), theirs, reference)
			insns := append(insn.Insns{}, f.Insns...)
			err := resolver.Apply(insns, []core.Record{rec})
			if errors.Is(err, core.ErrAmbiguous) && wantErr == nil {
				continue // cilium/ebpf takes the best of several candidates
			}
			if (err == nil) != (wantErr == nil) {
				t.Errorf("%s: %s: ours %v, cilium/ebpf's %v", o.Name, rec.String(o.BTF), err, wantErr)
			}
			if err != nil || wantErr != nil {
				continue
			}
			if got := insns[rec.InsnOff:][:len(want)]; !bytes.Equal(got, want) && !poisonDiffers(rec.Kind, got, want) {
				t.Errorf("%s: %s: ours % x, cilium/ebpf's % x", o.Name, rec.String(o.BTF), got, want)
			}
			compared++
		}
	}
	return compared
}

// poisonDiffers knows where cilium/ebpf poisons in its own way: an ld_imm64 by
// another ld_imm64, and size and id of types that the target does not have, where
// libbpf and the kernel say 0.
func poisonDiffers(kind core.Kind, ours, theirs insn.Insns) bool {
	if theirs.Imm(0) != core.Poison {
		return false
	}
	missing := (kind == core.TypeSize || kind == core.TypeIDTarget) && ours.Imm(0) == 0
	return missing || core.IsPoisoned(ours, 0)
}

var errNoFix = errors.New("no relocation")

// ciliumFix is the instruction at a slot of a function as cilium/ebpf patches it.
func ciliumFix(insns asm.Instructions, slot int, local *ebpf.CollectionSpec, target *cbtf.Spec) (insn.Insns, error) {
	iter := insns.Iterate()
	for iter.Next() {
		if int(iter.Offset) != slot {
			continue
		}
		relo := cbtf.CORERelocationMetadata(iter.Ins)
		if relo == nil {
			return nil, errNoFix
		}
		fixes, err := cbtf.CORERelocate([]*cbtf.CORERelocation{relo}, []*cbtf.Spec{target}, binary.LittleEndian, local.Types.TypeID)
		if err != nil {
			return nil, err
		}
		ins := *iter.Ins
		if err := fixes[0].Apply(&ins); err != nil {
			return nil, err
		}
		var b bytes.Buffer
		_, err = ins.Marshal(&b, binary.LittleEndian)
		return b.Bytes(), err
	}
	return nil, errNoFix
}
