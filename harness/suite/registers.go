package suite

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// registers identify the architecture of the registers that programs at functions get: the struct
// behind ctx, in the kernel's types and in linux/ptrace.h, and a member that only this architecture
// has.
var registers = []struct {
	arch    string
	structs []string
	member  []string
}{
	{"amd64", []string{"pt_regs"}, []string{"di", "rdi"}},
	{"arm64", []string{"user_pt_regs", "pt_regs"}, []string{"pstate"}},
	{"riscv64", []string{"user_regs_struct", "pt_regs"}, []string{"epc", "a0"}},
}

// Registers returns the architecture whose registers an object's programs use. It is empty if they
// use none, or those of an unknown architecture. Such an object must be compiled for each
// architecture (__TARGET_ARCH_x86 and so on in libbpf's bpf_tracing.h).
func Registers(o *object.Object) string {
	if o.BTF == nil || !slices.ContainsFunc(o.Functions, func(f object.Function) bool {
		return !f.Subprog && f.Program.Type == uapi.ProgKprobe
	}) {
		return ""
	}
	return registersIn(o.BTF)
}

// registersIn returns the architecture whose registers are among the types.
func registersIn(spec *btf.Spec) string {
	for _, r := range registers {
		for _, name := range r.structs {
			for id := range spec.FindByName(name, btf.KindStruct) {
				t, err := spec.Type(id)
				if err != nil {
					continue
				}
				if slices.ContainsFunc(t.Members, func(m btf.Member) bool { return slices.Contains(r.member, m.Name) }) {
					return r.arch
				}
			}
		}
	}
	return ""
}

// ForeignRegisters returns the architecture of an object's registers if it is not the kernel's,
// otherwise "".
func ForeignRegisters(object, kernel string) string {
	of, _, _ := arch.Cut(kernel)
	if object == of {
		return ""
	}
	return object
}
