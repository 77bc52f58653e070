package suite

import (
	"testing"

	ciliumbtf "github.com/cilium/ebpf/btf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// The members of the struct behind ctx identify the architecture.
func TestRegisters(t *testing.T) {
	long := &ciliumbtf.Int{Name: "long", Size: 8}
	regs := func(name string, members ...string) *btf.Spec {
		s := &ciliumbtf.Struct{Name: name, Size: uint32(8 * len(members))}
		for i, m := range members {
			s.Members = append(s.Members, ciliumbtf.Member{Name: m, Type: long, Offset: ciliumbtf.Bits(64 * i)})
		}
		b, err := ciliumbtf.NewBuilder([]ciliumbtf.Type{&ciliumbtf.Pointer{Target: s}}, nil)
		assert.NilError(t, err)
		raw, err := b.Marshal(nil, nil)
		assert.NilError(t, err)
		spec, err := btf.Parse(raw)
		assert.NilError(t, err)
		return spec
	}
	for _, test := range []struct {
		spec *btf.Spec
		want string
	}{
		{regs("pt_regs", "r15", "si", "di"), "amd64"},
		{regs("pt_regs", "rsi", "rdi"), "amd64"}, // of linux/ptrace.h
		{regs("user_pt_regs", "sp", "pc", "pstate"), "arm64"},
		{regs("user_regs_struct", "pc", "a0"), "riscv64"},
		{regs("pt_regs", "epc", "a0"), "riscv64"},
		{regs("pt_regs", "gpr"), ""},
		{regs("task_struct", "di"), ""},
	} {
		assert.Equal(t, registersIn(test.spec), test.want)
	}
	for kernel, want := range map[string]string{"amd64/6.12": "", "arm64/6.12": "amd64", "riscv64/6.12": "amd64"} {
		assert.Equal(t, ForeignRegisters("amd64", kernel), want, kernel)
		assert.Equal(t, ForeignRegisters("", kernel), "", kernel)
	}
	assert.Equal(t, Registers(&object.Object{}), "")
}
