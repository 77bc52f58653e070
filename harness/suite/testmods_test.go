package suite

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/probe"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

func TestNeededBy(t *testing.T) {
	names := &TestNames{
		Modules: []string{"testmod"}, Functions: []string{"kfunc", "weak_kfunc", "traced", "far"}, Variables: []string{"percpu"},
		Tracepoints: []string{"test_read", "bare"}, StructOps: []string{"test_ops"},
	}
	extern := func(name string, kind object.ExternKind, weak bool) object.Extern {
		return object.Extern{Name: name, Kind: kind, Weak: weak}
	}
	program := func(name string, loaded bool, p object.ProgramType, relocations ...object.Relocation) object.Function {
		return object.Function{Name: name, Autoload: loaded, Program: p, Relocations: relocations}
	}
	kfunc := func(i int) object.Relocation { return object.Relocation{Kind: object.RelocKfunc, Target: i} }
	ksym := func(i int) object.Relocation { return object.Relocation{Kind: object.RelocKsym, Target: i} }
	attach := func(pattern, target string) object.ProgramType {
		return object.ProgramType{NeedsBTF: true, Pattern: pattern, Attach: target}
	}
	o := &object.Object{
		Externs: []object.Extern{
			extern("kfunc___new", object.ExternFunc, false), extern("weak_kfunc", object.ExternFunc, true),
			extern("percpu", object.ExternVar, false), extern("bpf_task_acquire", object.ExternFunc, false), extern("far", object.ExternFunc, false),
		},
		Functions: []object.Function{
			program("calls", true, object.ProgramType{}, kfunc(0), kfunc(1), ksym(2), kfunc(3), object.Relocation{Kind: object.RelocCall, Target: 6}),
			program("idle", false, attach("fentry+", "testmod:traced")),
			program("reads", true, attach("tp_btf+", "test_read")),
			program("bare", true, attach("tp_btf+", "bare_tp")),
			program("kernels", true, attach("fentry+", "vfs_read")),
			program("many", true, attach("fentry.multi+", "testmod:traced*")),
			{Name: "sub", Subprog: true, Relocations: []object.Relocation{kfunc(4), {Kind: object.RelocCall, Target: 6}}},
			{Name: "nobody calls", Subprog: true, Relocations: []object.Relocation{kfunc(0)}},
			program("kprobe", true, object.ProgramType{Attach: "traced"}),
		},
		Maps: []object.Map{
			{StructOps: &object.StructOps{Type: "test_ops"}}, {StructOps: &object.StructOps{Type: "tcp_congestion_ops"}},
			{StructOps: &object.StructOps{Type: "test_ops", Optional: true}}, {},
		},
	}
	for only, want := range map[string][]string{
		"": {"func:far", "func:kfunc", "struct:bpf_struct_ops_test_ops", "typedef:btf_trace_bare_tp",
			"typedef:btf_trace_test_read", "var:percpu"},
		"idle": {"func:traced", "module:testmod"}, "reads": {"typedef:btf_trace_test_read"}, "kernels": nil, "many": nil, "kprobe": nil,
		"calls": {"func:far", "func:kfunc", "var:percpu"},
	} {
		got := names.neededBy(o, only)
		assert.Check(t, is.DeepEqual(got, want), only)
		for _, need := range got {
			assert.Check(t, probe.Known(need), need)
		}
	}
}

// TestNeeding: the needs of the objects are added to those of the suite.
func TestNeeding(t *testing.T) {
	s, err := Read("../../selftests/cases.yaml")
	assert.NilError(t, err)
	s, err = s.Select([]string{"prog_fentry", "maps_array"})
	assert.NilError(t, err)
	o, err := object.Open(s.Path(&s.Cases[1]))
	assert.NilError(t, err)
	assert.Check(t, !s.UsesTestModules())
	target := o.Functions[0].Program.Attach
	named := s.Needing(&TestNames{Functions: []string{target}})
	assert.Check(t, is.Contains(named.Cases[1].Needs, "func:"+target))
	assert.Check(t, is.DeepEqual(named.Cases[0], s.Cases[0], cmp.AllowUnexported(Case{})))
	assert.Check(t, named.UsesTestModules() && !s.UsesTestModules())
}
