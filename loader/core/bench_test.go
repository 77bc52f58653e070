package core_test

import (
	"os"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

const vmlinuxPath = "/sys/kernel/btf/vmlinux"

// vmlinux is the BTF of the kernel that runs, or the reason to skip.
func vmlinux(t testing.TB) *btf.Spec {
	t.Helper()
	raw, err := os.ReadFile(vmlinuxPath)
	if err != nil {
		t.Skipf("no BTF of the running kernel: %v", err)
	}
	spec, err := btf.ParseKernel(raw)
	assert.NilError(t, err)
	return spec
}

// BenchmarkFirstField is what a loader pays for the first field of a program:
// the index of the kernel's names and one record. Reading and parsing vmlinux
// is measured by its own benchmark.
func BenchmarkFirstField(b *testing.B) {
	kernel := vmlinux(b)
	local, rec := pidRecord(b)
	b.ReportAllocs()
	for b.Loop() {
		r := core.New(local, core.NewTarget(kernel, nil))
		assert.NilError(b, r.Apply(movImm(0), []core.Record{rec}))
	}
}

func BenchmarkNextField(b *testing.B) {
	local, rec := pidRecord(b)
	r := core.New(local, core.NewTarget(vmlinux(b), nil))
	b.ReportAllocs()
	for b.Loop() {
		assert.NilError(b, r.Apply(movImm(0), []core.Record{rec}))
	}
}

func BenchmarkParseVmlinux(b *testing.B) {
	raw, err := os.ReadFile(vmlinuxPath)
	if err != nil {
		b.Skipf("no BTF of the running kernel: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := btf.ParseKernel(raw)
		assert.NilError(b, err)
	}
}

func pidRecord(t testing.TB) (*btf.Spec, core.Record) {
	b := newBuilder()
	acc := b.str("0:0")
	task := b.structure("task_struct", 4, member{"pid", b.integer("int", 4, signed), 0, 0})
	return b.spec(t), core.Record{TypeID: task, AccessStr: acc}
}

// movImm is r0 = imm.
func movImm(imm int32) insn.Insns {
	p := insn.Insns{0xb7, 0, 0, 0, 0, 0, 0, 0}
	p.SetImm(0, imm)
	return p
}
