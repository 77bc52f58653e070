package mutate

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// differs, refused and failing make declarations.

func differs(f field.Field, also ...field.Field) Want { return Want{Field: f, Also: also} }
func refused(pattern string) Want                     { return Want{Refused: pattern} }
func failing(pattern string) Want                     { return Want{Failure: pattern} }

// fds matches the failure of a load that does not close one of its fds.
const fds = "replay left behind * file descriptors"

// table has all mutations of traces and loader programs. A row is the name, the defect, the case that
// must catch it, how it must be caught, and how the defect is made.
var table = slices.Concat(ofMaps, ofValues, ofReferences, ofSymbols, ofPrograms, ofTypes, ofCORE, ofOwnership, ofLoaders)

// folded are fields that also differ if the verifier can no longer treat a read as constant: since
// 7.3 it removes branches on constants.
var folded = []field.Field{field.Function("run", "", "insns"), field.Function("run", "", "line_info"), field.Program("run", "maps"), field.Program("run", "bound")}

var ofMaps = []Mutation{
	{"map-type", "a map of another type", "maps_hash",
		differs(field.Map("flows", "type"), field.Function("count", "", "insns"), field.Function("count", "", "line_info")),
		onMap("flows", func(a *trace.MapAttr) { a.Type = uapi.MapLRUHash })},
	{"map-percpu-lost", "one value for all CPUs in the place of one each", "maps_percpu",
		differs(field.Map("array", "type"), field.Function("look", "", "insns"), field.Function("look", "", "line_info")),
		onMap("array", func(a *trace.MapAttr) { a.Type = uapi.MapArray })},
	{"map-key-size", "keys that are too long", "maps_only",
		refused("map alone: MAP_CREATE: EINVAL"), onMap("alone", func(a *trace.MapAttr) { a.KeySize += 4 })},
	{"map-value-size", "values that are too long", "maps_only",
		refused("map alone: MAP_CREATE: EINVAL"), onMap("alone", func(a *trace.MapAttr) { a.ValueSize += 4 })},
	{"map-max-entries", "one element more", "maps_hash",
		differs(field.Map("flows", "max_entries")), onMap("flows", func(a *trace.MapAttr) { a.MaxEntries++ })},
	{"map-setting-lost", "a size that the target decides is made up", "maps_perf_event_array",
		differs(field.Map("events", "max_entries")),
		on(mapNamed("events"), func(c *trace.CreateMap) {
			c.CPUs, c.Attr.MaxEntries = nil, 3
		})},
	{"map-cpus-other", "a map of CPUs has room for another number of them", "maps_cpumap",
		differs(field.Map(field.Any, "max_entries")), onMap("", func(a *trace.MapAttr) { a.MaxEntries++ })},
	{"map-flags-added", "a hash is not preallocated that should be", "maps_hash",
		differs(field.Map("flows", "flags")), onMap("flows", func(a *trace.MapAttr) { a.Flags |= unix.BPF_F_NO_PREALLOC })},
	{"map-flags-lost", "a hash is preallocated that should not be", "maps_hash",
		differs(field.Map("sparse", "flags")), onMap("sparse", func(a *trace.MapAttr) { a.Flags = 0 })},
	{"map-access", "user space may write where it may only read", "maps_flags",
		differs(field.Map("user_reads", "access")), onMap("user_reads", func(a *trace.MapAttr) { a.Flags = 0 })},
	{"map-program-access", "programs may write where they may only read", "maps_flags",
		differs(field.Map("program_reads", "flags")), onMap("program_reads", func(a *trace.MapAttr) { a.Flags = 0 })},
	{"data-not-mmapable", "user space cannot map a data section", "data_sections",
		differs(field.Map(".data", "flags")), onMap(".data", func(a *trace.MapAttr) { a.Flags &^= unix.BPF_F_MMAPABLE })},
	{"static-data-mmapable", "user space can map a data section of static variables", "data_static",
		differs(field.Map(".data", "flags")), onMap(".data", func(a *trace.MapAttr) { a.Flags |= unix.BPF_F_MMAPABLE })},
	{"rodata-writable", "programs may write to constants", "data_sections",
		differs(field.Map(".rodata", "flags"), folded...),
		onMap(".rodata", func(a *trace.MapAttr) { a.Flags &^= unix.BPF_F_RDONLY_PROG })},
	{"map-name", "a map's name is cut too early", "maps_hash",
		differs(field.Map("flows", "name")), onMap("flows", func(a *trace.MapAttr) { a.Name = "flow" })},
	{"data-map-name", "a data section's map is named without its object", "data_sections",
		differs(field.Map(".rodata", "name")), onMap(".rodata", func(a *trace.MapAttr) { a.Name = "rodata" })},
	{"map-names-swapped", "two maps have each other's names", "refs_many",
		differs(field.Map("a", "name"), field.Map("b", "name")),
		pair(mapNamed("a"), mapNamed("b"), func(a, b *trace.CreateMap) {
			a.Attr.Name, b.Attr.Name = b.Attr.Name, a.Attr.Name
		})},
	{"map-extra", "a bloom filter with one hash more", "maps_bloom_filter",
		differs(field.Map("seen", "map_extra")), onMap("seen", func(a *trace.MapAttr) { a.Extra++ })},
	{"map-numa-lost", "a map's NUMA node is forgotten", "maps_numa",
		differs(field.Map("local", "flags"), field.Map("local", "numa_node")),
		onMap("local", func(a *trace.MapAttr) { a.Flags = 0 })},
	{"map-numa-any", "a map's NUMA node is any", "maps_numa",
		differs(field.Map("local", "numa_node")), onMap("local", func(a *trace.MapAttr) { a.NUMANode = 1<<32 - 1 })},
	{"map-numa-other", "a map of a NUMA node that is not there", "maps_numa",
		refused("map local: MAP_CREATE: EINVAL"), onMap("local", func(a *trace.MapAttr) { a.NUMANode = 700 })},
	{"map-types-lost", "a map without types", "maps_hash",
		differs(field.Map("flows", "btf"), field.Map("flows", "key_type"), field.Map("flows", "value_type")),
		onMap("flows", func(a *trace.MapAttr) {
			a.BTF, a.KeyType, a.ValueType = trace.NoFD, 0, 0
		})},
	{"map-types-swapped", "a key's and a value's type change places", "maps_struct_types",
		refused("map macs: MAP_CREATE: EINVAL"),
		onMap("macs", func(a *trace.MapAttr) {
			a.KeyType, a.ValueType = a.ValueType, a.KeyType
		})},
	{"map-key-type", "a key is of another type of its size", "maps_only",
		differs(field.Map("alone", "key_type")), onMap("alone", func(a *trace.MapAttr) { a.KeyType++ })},
	{"map-value-type", "a value is of another type of its size", "maps_only",
		differs(field.Map("alone", "value_type")), onMap("alone", func(a *trace.MapAttr) { a.ValueType++ })},
	{"inner-template-type", "an inner map's template is of another type", "maps_of_maps",
		refused("map slots: MAP_UPDATE_ELEM: EINVAL"), on(template, func(c *trace.CreateMap) { c.Attr.Type = uapi.MapLRUHash })},
	{"inner-template-size", "an inner map's template has longer values", "maps_of_maps",
		refused("map slots: MAP_UPDATE_ELEM: EINVAL"),
		on(template, func(c *trace.CreateMap) {
			c.Attr.ValueSize += 8
			c.Attr.BTF, c.Attr.KeyType, c.Attr.ValueType = trace.NoFD, 0, 0
		})},
	{"inner-template-other", "a map of maps wants inner maps of another type", "maps_of_maps",
		differs(field.Map("later", "inner")),
		on(func(c *trace.CreateMap) bool { return template(c) && c.Name == "later.inner" }, func(c *trace.CreateMap) {
			c.Attr.Type = uapi.MapLRUHash
		})},
	{"inner-template-lost", "a map of maps without a template", "maps_of_maps",
		refused("map slots: MAP_CREATE: E*"), on(mapNamed("slots"), func(c *trace.CreateMap) { c.Inner = trace.NoFD })},
	{"drop-freeze", "constants that user space may change", "data_sections",
		differs(field.Map(".rodata", "frozen"), folded...), drop(freezeOf(""))},
	{"freeze-other", "variables are frozen and constants are not", "data_sections",
		differs(field.Map(".rodata", "frozen"), append([]field.Field{field.Map(".data", "frozen")}, folded...)...),
		change(func(t *trace.Trace) {
			_, data := command(t, mapNamed(".data"))
			i, f := command(t, freezeOf(".rodata"))
			last, _ := command(t, valueOf(".data"))
			if data == nil || i < 0 || last < i {
				return
			}
			t.Commands = slices.Insert(slices.Delete(t.Commands, i, i+1), last, trace.Command(&trace.Freeze{Map: data.Out, Name: f.Name}))
		})},
	{"freeze-early", "constants are frozen before they are written", "data_sections",
		refused("map .rodata: MAP_UPDATE_ELEM: EPERM"),
		change(func(t *trace.Trace) {
			i, v := command(t, valueOf(".rodata"))
			j, f := command(t, freezeOf(".rodata"))
			if i >= 0 && j >= 0 {
				t.Commands[i], t.Commands[j] = f, v
			}
		})},
}

var ofValues = []Mutation{
	{"drop-value", "a data section without its initial value", "data_sections",
		differs(field.Map(".rodata", "contents"), field.Program("run", field.Any), field.Map(field.Any, "contents after runs")),
		drop(valueOf(""))},
	{"value-bit", "one bit of a constant is wrong", "data_sections",
		differs(field.Map(".rodata", "contents")), onValue(".rodata", flip(20, 1))},
	{"value-truncated", "the end of the constants is missing", "data_sections",
		differs(field.Map(".rodata", "contents")), onValue(".rodata", func(v []byte) { clear(v[len(v)/2:]) })},
	{"value-shifted", "variables lie a byte further", "data_sections",
		differs(field.Map(".data", "contents")),
		onValue(".data", func(v []byte) { copy(v[min(1, len(v)):], slices.Clone(v)) })},
	{"value-of-other", "variables start as another section does", "data_sections",
		differs(field.Map(".data", "contents")),
		pair(valueOf(".data"), valueOf(".rodata"), func(a, b *trace.UpdateElem) {
			value := make([]byte, len(a.Value))
			copy(value, b.Value)
			a.Value = value
		})},
	{"value-in-bss", "variables that start at 0 do not", "data_sections",
		differs(field.Map(".bss", "contents")),
		change(func(t *trace.Trace) {
			i, c := command(t, mapNamed(".bss"))
			if c == nil {
				return
			}
			value := make([]byte, c.Attr.ValueSize)
			flip(3, 9)(value)
			t.Commands = slices.Insert(t.Commands, i+1, trace.Command(&trace.UpdateElem{Map: c.Out, Name: c.Name, Key: make([]byte, 4), Value: value}))
		})},
	{"value-custom", "a byte of a custom section is wrong", "data_custom",
		differs(field.Map(".data.foo", "contents")), onValue("", flip(0, 0x80))},
	{"value-flags", "an update that insists on a new element", "data_sections",
		refused("map .data: MAP_UPDATE_ELEM: EEXIST"), on(valueOf(".data"), func(c *trace.UpdateElem) { c.Flags = unix.BPF_NOEXIST })},
	{"value-key", "an initial value for the second of one elements", "data_sections",
		refused("map .data: MAP_UPDATE_ELEM: E2BIG"),
		on(valueOf(".data"), func(c *trace.UpdateElem) { c.Key = []byte{1, 0, 0, 0} })},
	{"value-literal", "a constant that the compiler made is wrong", "maps_hash",
		differs(field.Map(".rodata.cst16", "contents")), onValue(".rodata.cst16", flip(12, 0x11))},
	{"slot-drop", "an inner map is not in its slot", "maps_of_maps",
		differs(field.Map("slots", "contents")), drop(slotOf("slots"))},
	{"slot-off-by-one", "an inner map is in the next slot", "maps_of_maps",
		differs(field.Map("slots", "contents")),
		on(slotOf("slots"), func(c *trace.UpdateElem) { c.Key = []byte{c.Key[0] + 1, 0, 0, 0} })},
	{"slots-swapped", "two inner maps are in each other's slots", "maps_of_maps",
		differs(field.Map("slots", "contents")),
		change(func(t *trace.Trace) {
			i, a := command(t, slotOf("slots"))
			_, b := command(t, func(c *trace.UpdateElem) bool { return slotOf("slots")(c) && c != a })
			if i >= 0 && b != nil {
				a.FD, b.FD = b.FD, a.FD
			}
		})},
	{"slot-beyond", "an inner map in a slot behind the last", "maps_of_maps",
		refused("map slots: MAP_UPDATE_ELEM: E2BIG"),
		on(slotOf("slots"), func(c *trace.UpdateElem) { c.Key = []byte{4, 0, 0, 0} })},
	{"prog-slot-drop", "a program is not in its slot", "maps_prog_slots",
		differs(field.Map("jumps", "contents")), drop(slotOf("jumps"))},
	{"prog-slot-off-by-one", "a program is in the next slot", "maps_prog_slots",
		differs(field.Map("jumps", "contents")),
		on(slotOf("jumps"), func(c *trace.UpdateElem) { c.Key = []byte{c.Key[0] + 1, 0, 0, 0} })},
	{"prog-slot-other", "a slot holds another program", "maps_prog_slots",
		differs(field.Map("jumps", "contents")), on(slotOf("jumps"), func(c *trace.UpdateElem) { c.FD++ })},
	{"prog-slot-map", "a slot for a program is given a map", "maps_prog_slots",
		refused("map jumps: MAP_UPDATE_ELEM: E*"), on(slotOf("jumps"), func(c *trace.UpdateElem) { c.FD = c.Map })},
}

var ofReferences = []Mutation{
	{"refs-swapped", "two references to maps are swapped", "refs_many",
		differs(field.Function("run", "", "insns"), field.Program("run", "maps")), swapRefs("run", "a", "b")},
	{"ref-other", "all references to a map lead to another", "refs_many",
		differs(field.Function("run", "", "insns"), field.Program("run", "maps"), field.Program("run", "bound")),
		change(func(t *trace.Trace) {
			onProgram("run", func(c *trace.LoadProgram) {
				for i := range c.Fixups {
					if toMap(t, "c")(&c.Fixups[i]) {
						c.Fixups[i].FD--
					}
				}
			})(t)
		})},
	{"ref-data-other", "a reference into .data leads into .bss", "data_sections",
		differs(field.Function("run", "", "insns"), field.Program("run", "maps")), swapRefs("run", ".bss", ".data")},
	{"ref-offset", "a reference into data leads eight bytes too early", "data_sections",
		differs(field.Function("run", "", "insns")), onRef("run", insn.PseudoMapValue, 5, addSecondImm(-8))},
	{"ref-offset-first", "a reference into constants leads to their start", "data_sections",
		differs(field.Function("run", "", "insns"), field.Program("run", "verified_insns")),
		onRef("run", insn.PseudoMapValue, 2, func(p insn.Insns, i int) { p.SetImm(i+1, 0) })},
	{"ref-offset-beyond", "a reference into data leads behind it", "refs_many",
		refused("program run: PROG_LOAD: E*"), onRef("run", insn.PseudoMapValue, 0, addSecondImm(4096))},
	{"ref-as-value", "a reference to a map leads to its first value", "refs_many",
		refused("program run: PROG_LOAD: *"), onRef("run", insn.PseudoMapFD, 0, setSrc(insn.PseudoMapValue))},
	{"ref-unpatched", "a reference to a map is not completed", "maps_hash",
		refused("program count: PROG_LOAD: E*"), dropFixup("count", trace.FixupMap, 1)},
	{"ref-stale", "a reference to a map has the fd of the types", "maps_hash",
		refused("program count: PROG_LOAD: E*"),
		change(func(t *trace.Trace) {
			if _, types := command(t, anyBTF); types != nil {
				onProgram("count", func(c *trace.LoadProgram) { fixup(c, 0, ofKind(trace.FixupMap)).FD = types.Out })(t)
			}
		})},
	{"call-neighbour", "a call leads to the next function", "subprogs_nested",
		refused("program one: PROG_LOAD: EINVAL*"), callTo("one", calls, 0, 4)},
	{"call-in-subprogram", "a call in a function leads to its neighbour", "subprogs_nested",
		differs(field.Function("one", "left", "insns")), callTo("one", calls, 5, 1)},
	{"call-into-middle", "a call leads into the middle of a function", "subprogs_static",
		refused("program first: PROG_LOAD: E*"), onOp("first", insn.Call, 0, addImm(1))},
	{"call-dropped", "a function is not called", "subprogs_static",
		differs(field.Function("second", "", "insns"), field.Program("second", field.Any)),
		onOp("second", insn.Call, 1, nothing)},
	{"callback-other", "a callback is the other one", "callbacks_loop",
		refused("program run: PROG_LOAD: EINVAL*"), callTo("run", loadsFunction, 0, 2)},
	{"callback-map", "a callback is called for another function's elements", "callbacks_map",
		refused("program run: PROG_LOAD: E*"), callTo("run", loadsFunction, 0, 2)},
	{"functions-reordered", "two functions change places", "subprogs_nested",
		differs(field.Program("one", "function_order"), field.Program("one", "tag"), field.Function("one", field.Any, "function_tag"), field.Program("one", "maps")),
		reorder("one", 0, 4, 2, 3, 1)},
	{"functions-reordered-last", "the last two functions change places", "subprogs_static",
		differs(field.Program("second", "function_order"), field.Program("second", "tag"), field.Function("second", field.Any, "function_tag")),
		reorder("second", 0, 2, 1)},
}

var ofSymbols = []Mutation{
	{"kfuncs-swapped", "two kernel functions are swapped", "kfunc_module",
		refused("program filter: PROG_LOAD: E*"), swapSymbols("bpf_xdp_ct_lookup", "bpf_skb_ct_lookup")},
	{"kfunc-other", "another kernel function is called", "kfunc_task",
		refused("program newtask: PROG_LOAD: E*"), renameSymbol("bpf_task_release", "bpf_task_acquire")},
	{"kfunc-missing", "a kernel function is looked up under a wrong name", "kfunc_task",
		refused("program newtask: lookup of func bpf_task_acquir: ENOENT"),
		renameSymbol("bpf_task_acquire", "bpf_task_acquir")},
	{"kfunc-kind", "a kernel function is looked for among variables", "kfunc_task",
		refused("program newtask: lookup of var bpf_task_acquire: ENOENT"),
		onSymbol("bpf_task_acquire", func(s *trace.Symbol) { s.BTFKind = uint32(btf.KindVar) })},
	{"kfunc-unpatched", "one call of a kernel function is not completed", "kfunc_many",
		refused("program newtask: PROG_LOAD: E*"), dropFixup("newtask", trace.FixupCall, 200)},
	{"kfunc-lookup-dropped", "a weak kernel function that is there is not looked up", "kfunc_weak_present",
		differs(field.Function("newtask", "", "insns"), field.Program("newtask", field.Any)),
		drop(func(c *trace.Lookup) bool { return true })},
	{"kfunc-weak-for-strong", "a kernel function that need not exist has to", "kfunc_weak_missing",
		refused("program run: lookup of func bpfreplay_no_such_kfunc: ENOENT"),
		onSymbol("bpfreplay_no_such_kfunc", func(s *trace.Symbol) { s.Weak = false })},
	{"kfunc-strong-for-weak", "a kernel function that has to exist need not", "kfunc_missing",
		Want{Failure: "replay: expected \"bpfreplay_no_such_kfunc\" in the error*", Also: []field.Field{field.Load("errno")}},
		onSymbol("bpfreplay_no_such_kfunc", func(s *trace.Symbol) { s.Weak = true })},
	{"kfunc-weak-called", "the call of a weak kernel function that is missing is left as a call", "kfunc_weak_guarded",
		refused("program run: PROG_LOAD: EINVAL*"),
		onNth("run", 0, func(p insn.Insns, i int) bool { return p.IsCallTo(i, 0) && p.Imm(i) > 1<<20 }, setSrc(insn.PseudoKfunc))},
	{"kfunc-module-lost", "a module's kernel function is not found in the module", "kfunc_module",
		refused("program filter: lookup of func bpf_xdp_ct_lookups: ENOENT"),
		renameSymbol("bpf_xdp_ct_lookup", "bpf_xdp_ct_lookups")},
	{"ksyms-swapped", "two kernel symbols are swapped", "ksym_typeless",
		differs(field.Function("run", "", "insns")), swapSymbols("vfs_read", "vfs_write")},
	{"ksym-other", "the address of another kernel symbol", "ksym_typeless",
		differs(field.Function("run", "", "insns")), renameSymbol("vfs_write", "vfs_fsync")},
	{"ksym-unpatched", "one of two addresses is not filled in", "ksym_typeless",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		dropFixup("run", trace.FixupAddress, 1)},
	{"ksym-weak-for-strong", "a symbol that need not exist has to", "ksym_typeless_weak",
		refused("program run: lookup of kernel symbol bpfreplay_no_such_symbol: ENOENT"),
		onSymbol("bpfreplay_no_such_symbol", func(s *trace.Symbol) { s.Weak = false })},
	{"ksym-strong-for-weak", "a symbol that has to exist need not", "ksym_typeless_missing",
		differs(field.Load("")), onSymbol("bpfreplay_no_such_symbol", func(s *trace.Symbol) { s.Weak = true })},
	{"ksym-weak-there", "a symbol that is there is taken for missing", "ksym_typeless_weak",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		renameSymbol("vfs_read", "vfs_rea")},
	{"ksym-typed-weak-for-strong", "a variable that need not exist has to", "ksym_typed_weak",
		refused("program run: lookup of var bpfreplay_no_such_variable: ENOENT"),
		onSymbol("bpfreplay_no_such_variable", func(s *trace.Symbol) { s.Weak = false })},
	{"ksym-typed-strong-for-weak", "a variable that has to exist need not", "ksym_typed_missing",
		Want{Failure: "replay: expected \"bpfreplay_no_such_variable\" in the error*", Also: []field.Field{field.Load("errno")}},
		onSymbol("bpfreplay_no_such_variable", func(s *trace.Symbol) { s.Weak = true })},
	{"ksym-typed-there", "a variable that is there is taken for missing", "ksym_typed_weak",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		renameSymbol("runqueues", "runqueue")},
	{"ksyms-typed-swapped", "two variables of the kernel are swapped", "ksym_typed",
		differs(field.Function("run", "", "insns"), field.Program(field.Any, field.Any)).orRefused("program run: PROG_LOAD: E*"),
		swapSymbols("runqueues", "bpf_prog_active")},
}

var ofPrograms = []Mutation{
	{"program-type", "a program of another type", "prog_tc",
		differs(field.Program("ingress", "type")), onProgram("ingress", func(c *trace.LoadProgram) { c.Type = uapi.ProgSchedAct })},
	{"program-name", "a program's name is cut too early", "maps_hash",
		differs(field.Program("count", "name")), onProgram("count", func(c *trace.LoadProgram) { c.Name = "coun" })},
	{"licence-lost", "a program without its licence", "maps_hash",
		differs(field.Program("count", "gpl")), onProgram("count", func(c *trace.LoadProgram) { c.License = "" })},
	{"licence-other", "a program with a licence that is not its own", "license_other",
		differs(field.Program("run", "gpl")), onProgram("run", func(c *trace.LoadProgram) { c.License = "GPL" })},
	{"licence-needed", "a program without the licence that its helpers want", "core_field",
		refused("program run: PROG_LOAD: EINVAL*"),
		onProgram("run", func(c *trace.LoadProgram) { c.License = "Apache-2.0" })},
	{"licence-given", "a licence that a program has not got makes it load", "fail_license",
		differs(field.Load("")), onProgram("unlicensed", func(c *trace.LoadProgram) { c.License = "GPL" })},
	{"attach-target", "a program attaches to another function", "prog_fentry",
		differs(field.Program("before", "attach")), renameSymbol("bpf_fentry_test1", "bpf_fentry_test2")},
	{"attach-targets-swapped", "two programs attach to each other's tracepoints", "prog_tp_btf",
		differs(field.Program("enter", "attach"), field.Program("leave", "attach")),
		swapSymbols("btf_trace_sys_enter", "btf_trace_sys_exit")},
	{"attach-target-hook", "a program attaches to another hook of the LSM", "prog_lsm",
		differs(field.Program("open", "attach"), field.Program("open", field.Any)),
		renameSymbol("bpf_lsm_file_open", "bpf_lsm_file_permission")},
	{"attach-target-missing", "an attach target is looked up without its prefix", "prog_tp_btf",
		refused("program enter: lookup of typedef sys_enter: ENOENT"),
		renameSymbol("btf_trace_sys_enter", "sys_enter")},
	{"attach-target-lost", "a program without its attach target", "prog_fentry",
		refused("program before: PROG_LOAD: EINVAL*"),
		onProgram("before", func(c *trace.LoadProgram) { c.Attach = nil })},
	{"attach-target-found", "a program whose target is missing attaches to another", "fail_attach_target",
		differs(field.Load("")), renameSymbol("bpfreplay_no_such_function", "bpf_fentry_test1")},
	{"attach-type", "a program for the exit of a function is one for its entry", "prog_fentry",
		refused("program after: PROG_LOAD: EACCES*"),
		onProgram("after", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachTraceFentry })},
	{"attach-type-family", "a program for IPv4 is one for IPv6", "prog_cgroup",
		refused("program connect4: PROG_LOAD: E*"),
		onProgram("connect4", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachCgroupInet6Connect })},
	{"attach-type-map", "a program for a device map is one for devices", "prog_xdp",
		refused("program on_device: PROG_LOAD: E*"),
		onProgram("on_device", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachXDP })},
	{"attach-type-lost", "an iterator is loaded as a raw tracepoint", "prog_iter",
		refused("program tasks: PROG_LOAD: E*"), onProgram("tasks", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachTraceRawTp })},
	{"attach-type-cpu", "a program for a CPU map is one for devices", "prog_xdp",
		differs(field.Program("on_cpu", "attach_type")),
		onProgram("on_cpu", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachXDP })},
	{"attach-type-entry", "a program for the entry of a function is one for its exit", "prog_fentry",
		differs(field.Program("before", "attach_type")),
		onProgram("before", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachTraceFexit })},
	{"attach-type-cgroup", "a program for one cgroup hook is one for another", "prog_cgroup",
		differs(field.Program("peer", "attach_type")),
		onProgram("peer", func(c *trace.LoadProgram) { c.AttachType = uapi.AttachCgroupInet4Getsockname })},
	{"attach-type-multi", "a probe of many functions is one of a single one", "prog_kprobe_multi",
		differs(field.Program(field.Any, "attach_type")),
		on(func(c *trace.LoadProgram) bool { return c.AttachType == uapi.AttachTraceKprobeMulti }, func(c *trace.LoadProgram) {
			c.AttachType = 0
		})},
	{"sleepable-forgotten", "a program that may sleep is loaded as one that must not", "prog_lsm",
		differs(field.Program("committed_creds", "sleepable")),
		onProgram("committed_creds", func(c *trace.LoadProgram) { c.Flags = 0 })},
	{"frags-forgotten", "a program for packets in several buffers is one for those in one", "prog_xdp_frags",
		differs(field.Program("filter", "frags")), onProgram("filter", func(c *trace.LoadProgram) { c.Flags = 0 })},
	{"sleepable-lost", "a program that sleeps must not", "prog_sleepable",
		refused("program open: PROG_LOAD: E*"), onProgram("open", func(c *trace.LoadProgram) { c.Flags = 0 })},
	{"sleepable-added", "a program that cannot sleep is to", "prog_tc",
		refused("program ingress: PROG_LOAD: EINVAL*"),
		onProgram("ingress", func(c *trace.LoadProgram) { c.Flags |= unix.BPF_F_SLEEPABLE })},
	{"insn-constant", "a constant in an instruction is wrong", "license_other",
		differs(field.Function("run", "", "insns")), onNth("run", 0, loadsConstant, addImm(1))},
	{"insn-dropped", "an instruction is left out", "maps_hash",
		refused("program count: PROG_LOAD: EACCES*"),
		onOp("count", 0x07, 1, func(p insn.Insns, i int) { replace(p, i, opJump, 0, 0, 0, 0) })},
	{"helper-other", "another helper is called", "maps_array",
		refused("program count: PROG_LOAD: E*"), onOp("count", insn.Call, 0, setImm(3))}, // bpf_map_delete_elem
	{"insns-cut", "the last instruction is missing", "license_other",
		refused("program run: PROG_LOAD: EINVAL*"),
		onProgram("run", func(c *trace.LoadProgram) {
			c.Insns = cut(c.Insns, insn.Size)
		})},
	{"insns-more", "there is one instruction too many", "license_other",
		refused("program run: PROG_LOAD: EINVAL*"),
		onProgram("run", func(c *trace.LoadProgram) {
			c.Insns = append(slices.Clone(c.Insns), opMovImm, 0, 0, 0, 0, 0, 0, 0)
		})},
	{"program-drop", "a program is not loaded", "subprogs_static",
		refused("program second: *handed out no fd*"), drop(programNamed("second"))},
	{"programs-swapped", "two programs have each other's names", "subprogs_static",
		differs(field.Program("first", field.Any), field.Program("second", field.Any)),
		pair(programNamed("first"), programNamed("second"), func(a, b *trace.LoadProgram) {
			a.Out, b.Out = b.Out, a.Out
		})},
	{"program-of-other", "a program has the instructions of another", "btf_lines",
		differs(field.Program("one_line", field.Any)),
		pair(programNamed("one_line"), programNamed("run"), func(a, b *trace.LoadProgram) {
			name, out, program := a.Name, a.Out, a.Program
			*a = *b
			a.Name, a.Out, a.Program = name, out, program
		})},
}

var ofTypes = []Mutation{
	{"func-info-lost", "a program without types", "subprogs_static",
		differs(field.Program("second", "func_info"), field.Program("second", field.Any)),
		onProgram("second", func(c *trace.LoadProgram) {
			c.BTF, c.FuncInfo, c.LineInfo = trace.NoFD, nil, nil
		})},
	{"func-info-swapped", "two functions have each other's names", "subprogs_nested",
		differs(field.Function("one", field.Any, field.Any), field.Program("one", "function_order")),
		onProgram("one", func(c *trace.LoadProgram) {
			a, b := record(c.FuncInfo, c.FuncInfoRecSize, 1)[funcType:], record(c.FuncInfo, c.FuncInfoRecSize, 4)[funcType:]
			x, y := le.Uint32(a), le.Uint32(b)
			le.PutUint32(a, y)
			le.PutUint32(b, x)
		})},
	{"func-info-other", "a program is said to be another function", "subprogs_static",
		differs(field.Function("first", field.Any, field.Any), field.Program("first", field.Any)),
		pair(programNamed("first"), programNamed("second"), func(a, b *trace.LoadProgram) {
			le.PutUint32(record(a.FuncInfo, a.FuncInfoRecSize, 0)[funcType:], le.Uint32(record(b.FuncInfo, b.FuncInfoRecSize, 0)[funcType:]))
		})},
	{"func-info-moved", "a function is said to start an instruction later", "subprogs_static",
		refused("program first: PROG_LOAD: EINVAL*"), onFuncInfo("first", 1, add32(0, 1))},
	{"func-info-type", "a function's type is that of something else", "subprogs_static",
		refused("program first: PROG_LOAD: EINVAL*"),
		onFuncInfo("first", 1, func(rec []byte) { le.PutUint32(rec[funcType:], 1) })},
	{"line-info-lost", "a program without source lines", "btf_lines",
		differs(field.Function("one_line", "", "line_info")),
		onProgram("one_line", func(c *trace.LoadProgram) { c.LineInfo = nil })},
	{"line-info-cut", "the last source line is missing", "btf_lines",
		differs(field.Function("run", field.Any, "line_info")),
		onProgram("run", func(c *trace.LoadProgram) { c.LineInfo = cut(c.LineInfo, int(c.LineInfoRecSize)) })},
	{"line-number", "a source line is off by one", "btf_lines",
		differs(field.Function("run", "", "line_info")), onLineInfo("run", 2, add32(linePos, 1<<10))},
	{"line-column", "a column is off by one", "btf_lines",
		differs(field.Function("run", "", "line_info")), onLineInfo("run", 2, add32(linePos, 1))},
	{"line-text", "a source line has the text of another", "btf_lines",
		differs(field.Function("run", "", "line_info")),
		onProgram("run", func(c *trace.LoadProgram) {
			last := len(c.LineInfo)/int(max(1, c.LineInfoRecSize)) - 1
			copy(record(c.LineInfo, c.LineInfoRecSize, 1)[lineText:linePos], record(c.LineInfo, c.LineInfoRecSize, last)[lineText:])
		})},
	{"line-file", "a source line is of another file", "btf_lines",
		differs(field.Function("run", "", "line_info")),
		onLineInfo("run", 2, func(rec []byte) { copy(rec[lineFile:lineText], rec[lineText:]) })},
	{"line-moved", "a source line belongs to the next instruction", "prog_large",
		differs(field.Function("run", "", "line_info")), onLineInfo("run", 1, add32(0, 1))},
	{"types-drop", "the types are not loaded", "maps_hash",
		refused("map flows: MAP_CREATE: EINVAL"), drop(anyBTF)},
	{"types-cut", "the types are cut off, and do without", "data_sections",
		differs(field.Map(".rodata", "btf"), field.Map(field.Any, field.Any), field.Program("run", field.Any)),
		onBTF(func(raw []byte) { le.PutUint32(raw[btfStrLen:], le.Uint32(raw[btfStrLen:])-8) })},
	{"types-member", "a member of a struct has another name", "data_sections",
		differs(field.Map(".rodata", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")),
		renameBTF("limit", "liMit")},
	{"types-variable", "a variable has another name", "data_sections",
		differs(field.Map(".data", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")),
		renameBTF("initialised", "initialized")},
	{"types-function", "a function has another name", "subprogs_global",
		differs(field.Function("run", "sum", ""), field.Program("run", field.Any), field.Map(field.Any, "btf")),
		renameBTF("sum", "SUM")},
	{"types-linkage", "a static function is global", "subprogs_static",
		differs(field.Function("first", "mix", "linkage"), field.Function(field.Any, "mix", "linkage"), field.Program(field.Any, field.Any)),
		onType(btf.KindFunc, "mix", add32(btfInfo, 1))},
	{"types-sign", "an unsigned number is signed", "maps_only",
		differs(field.Map("alone", "key_type"), field.Map(field.Any, field.Any)),
		onType(btf.KindInt, "unsigned int", func(typ []byte) { typ[btfTypeSize+3] |= 1 })},
	{"types-prototype", "a function returns another type", "subprogs_global",
		differs(field.Function("run", field.Any, "prototype"), field.Program("run", field.Any), field.Map(field.Any, "btf")).orRefused("program run: PROG_LOAD: E*"),
		change(func(t *trace.Trace) {
			id := uint32(0)
			onType(btf.KindFunc, "sum", func(typ []byte) { id = le.Uint32(typ[btfSizeType:]) })(t)
			onType(btf.KindFunc, "with_ctx", func(typ []byte) { le.PutUint32(typ[btfSizeType:], id) })(t)
		})},
	{"types-untouched-name", "a type that nothing in the kernel shows has another name", "maps_hash",
		differs(field.Map("flows", "key_type"), field.Map(field.Any, "btf"), field.Program("count", "btf")),
		renameBTF("sport", "spor2")},
}

var ofCORE = []Mutation{
	{"core-dropped", "a CO-RE relocation is missing", "core_field",
		differs(field.Function("run", "", "insns"), field.Program("run", "tag")),
		onProgram("run", func(c *trace.LoadProgram) { c.CORE = c.CORE[:max(0, len(c.CORE)-1)] })},
	{"core-all-dropped", "no CO-RE relocation is there", "core_field",
		differs(field.Function("run", "", "insns"), field.Program("run", "tag"), field.Program("run", "verified_insns")),
		onProgram("run", func(c *trace.LoadProgram) { c.CORE = nil })},
	{"core-moved", "a CO-RE relocation is applied to the next instruction", "core_field",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)).orRefused("program run: PROG_LOAD: E*"),
		onCORE("run", 1, func(r *core.Record) { r.InsnOff += insn.Size })},
	{"core-field", "a CO-RE relocation is about another member", "core_field",
		differs(field.Function("run", "", "insns")),
		onProgram("run", func(c *trace.LoadProgram) {
			a, b, p := relocation(c, 0), relocation(c, 4), insn.Insns(c.Insns)
			a.AccessStr = b.AccessStr
			// The kernel needs the object's own types.
			p.SetImm(int(a.InsnOff)/insn.Size, p.Imm(int(b.InsnOff)/insn.Size))
		})},
	{"core-access", "a CO-RE relocation does not fit its instruction", "core_field",
		refused("program run: PROG_LOAD: EINVAL*"),
		onProgram("run", func(c *trace.LoadProgram) {
			relocation(c, 0).AccessStr = relocation(c, 4).AccessStr
		})},
	{"core-swapped", "two CO-RE relocations are swapped", "core_field",
		refused("program run: PROG_LOAD: EINVAL*"),
		onProgram("run", func(c *trace.LoadProgram) {
			a, b := relocation(c, 0), relocation(c, 5)
			a.AccessStr, b.AccessStr = b.AccessStr, a.AccessStr
		})},
	{"core-kind", "a CO-RE relocation asks for the size and not for existence", "core_exists",
		refused("program run: PROG_LOAD: EINVAL*"),
		onCORE("run", 0, func(r *core.Record) { r.Kind = core.FieldByteSize })},
	{"core-value", "an enumerator's value is not that of this kernel", "core_enums",
		refused("program run: PROG_LOAD: *"), onCORE("run", 1, func(r *core.Record) { r.Kind = core.EnumvalExists })},
	{"core-type", "a CO-RE relocation is about another type", "core_field",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)).orRefused("program run: PROG_LOAD: E*"),
		onCORE("run", 2, func(r *core.Record) { r.TypeID++ })},
	{"core-subprogram", "a function's CO-RE relocations do not move with it", "core_subprogs",
		differs(field.Function("run", field.Any, "insns"), field.Program("run", field.Any)).orRefused("program run: PROG_LOAD: E*"),
		onProgram("run", func(c *trace.LoadProgram) {
			at := starts(c)
			relocation(c, len(c.CORE)-1).InsnOff -= uint32(at[max(0, len(at)-2)] * insn.Size)
		})},
}

var ofOwnership = []Mutation{
	{"types-left-open", "the types stay open", "maps_hash",
		failing(fds), drop(anyClose)},
	{"template-left-open", "an inner map's template stays open", "maps_of_maps",
		failing(fds), drop(anyClose)},
	{"module-left-open", "the types of a module stay open", "kfunc_module",
		failing(fds),
		change(func(t *trace.Trace) {
			if _, types := command(t, anyBTF); types != nil {
				drop(func(c *trace.Close) bool { return c.FD != types.Out })(t)
			}
		})},
	{"map-twice", "a map is made twice", "maps_hash",
		failing(fds),
		again(mapNamed("flows"), func(c *trace.CreateMap, out trace.FD) trace.Command {
			n := *c
			n.Map, n.Out = nil, out
			return &n
		})},
	{"program-twice", "a program is loaded twice", "maps_hash",
		failing(fds),
		again(programNamed("count"), func(c *trace.LoadProgram, out trace.FD) trace.Command {
			n := *c
			n.Out = out
			return &n
		})},
	{"program-twice-one-fd", "a program is loaded twice and its first fd forgotten", "maps_hash",
		failing(fds),
		again(programNamed("count"), func(c *trace.LoadProgram, out trace.FD) trace.Command { return c })},
	{"types-closed-early", "the types are closed before they are used", "maps_hash",
		refused("program count: PROG_LOAD: E*"),
		change(func(t *trace.Trace) {
			i, c := command(t, anyClose)
			j, _ := command(t, programNamed("count"))
			if i >= 0 && j >= 0 {
				t.Commands = slices.Insert(slices.Delete(t.Commands, i, i+1), j, trace.Command(c))
			}
		})},
	{"template-closed-early", "a template is closed before its map is made", "maps_of_maps",
		refused("map slots: MAP_CREATE: E*"),
		change(func(t *trace.Trace) {
			i, c := command(t, anyClose)
			if i > 0 {
				t.Commands[i], t.Commands[i-1] = t.Commands[i-1], c
			}
		})},
}

var ofLoaders = []Mutation{
	{"blob-map-flags", "a map's flags are wrong in the blob", "maps_hash",
		differs(field.Map("sparse", "flags")), inAttr(mapCreateName, "sparse", flip(16, 1))},
	{"blob-map-entries", "a map's size is wrong in the blob", "maps_hash",
		differs(field.Map("sparse", "max_entries")), inAttr(mapCreateName, "sparse", flip(bpfsys.MapCreateMaxEntries, 2))},
	{"blob-map-key-type", "a map's key type is wrong in the blob", "maps_struct_types",
		differs(field.Map("macs", "key_type")), inAttr(mapCreateName, "macs", add32(bpfsys.MapCreateKeyType, 1))},
	{"blob-value", "a constant is wrong in the blob", "data_strings",
		differs(field.Map(".rodata", "contents")),
		inPart(valueOf(""), func(c *trace.UpdateElem) []byte { return c.Value }, flip(0, 4))},
	{"blob-insn", "an instruction is flipped in the blob", "maps_hash",
		differs(field.Function("count", "", "insns"), field.Program("count", "tag"), field.Program("count", "verified_insns")),
		inPart(programNamed("count"), func(c *trace.LoadProgram) []byte { return c.Insns }, func(b []byte) {
			nth(b, 0, func(p insn.Insns, i int) bool { return p.Op(i) == opMovImm && p.Imm(i) == 1 }, addImm(1))
		})},
	{"blob-insn-count", "a program is one instruction short in the blob", "license_other",
		refused("program run: PROG_LOAD: EINVAL*"), inAttr(progLoadName, "run", flip(4, 3))},
	{"blob-program-name", "a program's name is wrong in the blob", "maps_hash",
		differs(field.Program("count", "name")), inAttr(progLoadName, "count", flip(progLoadName, 0x20))},
	{"blob-program-type", "a program's type is wrong in the blob", "prog_tc",
		differs(field.Program("act", "type")), inAttr(progLoadName, "act", flip(0, 7))},
	{"blob-licence", "the licence is wrong in the blob", "maps_hash",
		differs(field.Program("count", "gpl")), inText("Dual BSD/GPL", "Dual BSD/BSD")},
	{"blob-symbol", "a kernel symbol's name is wrong in the blob", "ksym_typeless",
		differs(field.Function("run", "", "insns")), inText("vfs_read", "vfs_open")},
	{"blob-types", "the types are wrong in the blob", "data_sections",
		differs(field.Map(".rodata", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")),
		inPart(anyBTF, func(c *trace.LoadBTF) []byte { return c.Data }, renameIn("enabled", "disable"))},
	{"blob-line", "a source line is wrong in the blob", "btf_lines",
		differs(field.Function("one_line", "", "line_info")),
		inPart(programNamed("one_line"), func(c *trace.LoadProgram) []byte { return c.LineInfo }, add32(linePos, 1<<10))},
	{"blob-core", "a CO-RE relocation is wrong in the blob", "core_field",
		refused("program run: PROG_LOAD: EINVAL*"),
		inPart(programNamed("run"), func(c *trace.LoadProgram) []byte { return core.Encode(c.CORE) }, func(b []byte) {
			copy(record(b, core.RecordSize, 0)[coreAccess:coreKind], record(b, core.RecordSize, 4)[coreAccess:])
		})},
	{"code-freeze", "the loader does not freeze", "data_sections",
		differs(field.Map(".rodata", "frozen"), folded...), skip(freezeOf(".rodata"))},
	{"code-value", "the loader writes no value", "data_sections",
		differs(field.Map(".data", "contents")), skip(valueOf(".data"))},
	{"code-slot", "the loader fills no slot", "maps_of_maps",
		differs(field.Map("slots", "contents")), skip(slotOf("slots"))},
	{"code-maps-swapped", "the loader hands out two maps for each other", "maps_hash",
		differs(field.Map("flows", field.Any), field.Map("sparse", field.Any), field.Program("count", field.Any)),
		swapFDs(ctxMap, "flows", "sparse")},
	{"code-programs-swapped", "the loader hands out two programs for each other", "subprogs_static",
		differs(field.Program("first", field.Any), field.Program("second", field.Any)),
		swapFDs(ctxProgram, "first", "second")},
	{"code-map-twice", "the loader hands out one map twice", "maps_hash",
		Want{Refused: "loaded, but: *map sparse: *", Failure: fds},
		edit(func(p *Program) {
			end := insn.Insns(p.Insns).Len() - 2 // the result, exit
			insert(p, end, opLoad, r1, rCtx, int16(ctxMap(p, "flows")), 0)
			insert(p, end+1, opStore, rCtx, r1, int16(ctxMap(p, "sparse")), 0)
		})},
	{"code-program-kept", "the loader does not hand out a program", "subprogs_static",
		Want{Refused: "program first: *", Failure: fds},
		edit(func(p *Program) {
			inCode(p, storeTo(rCtx, r0, ctxProgram(p, "first")), storeConstant(0))
		})},
	{"code-ref-moved", "the loader puts a map's fd into the wrong instruction", "maps_hash",
		refused("program count: PROG_LOAD: E*"), moveStore("count", trace.FixupMap, 16)},
	{"code-ref-second", "the loader puts a map's fd into the second half of a 64-bit load", "data_sections",
		refused("program run: PROG_LOAD: E*"), moveStore("run", trace.FixupMap, 8)},
	{"code-ksym-off", "the loader puts an address that is 8 too high", "ksym_typeless",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		edit(func(p *Program) {
			i := find(p, func(code insn.Insns, i int) bool {
				return code.Op(i) == opLoad64 && code.Dst(i) == r0 && code.Src(i) == rBase
			})
			if i >= 0 {
				insert(p, i+1, opAddImm, r0, 0, 0, 8)
			}
		})},
	{"code-ksym-halves", "the loader swaps the halves of an address", "ksym_typeless",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		edit(func(p *Program) {
			at := site(p, "run", trace.FixupAddress, 0) + immAt
			i, j := find(p, storeTo(rBase, r0, at)), find(p, storeTo(rBase, r3, at+insn.Size))
			if i >= 0 && j >= 0 {
				insn.Insns(p.Insns).SetSrc(i, r3)
				insn.Insns(p.Insns).SetSrc(j, r0)
			}
		})},
	{"code-ksym-half", "the loader puts half of an address", "ksym_typeless",
		differs(field.Function("run", "", "insns"), field.Program("run", field.Any)),
		edit(func(p *Program) {
			at := site(p, "run", trace.FixupAddress, 1) + immAt
			inCode(p, storeTo(rBase, r3, at+insn.Size), storeConstant(0))
		})},
	{"code-kfunc-index", "the loader names another slot of fd_array", "kfunc_module",
		differs(field.Function("filter", "", "kfunc_index"), field.Program("filter", "tag")).orRefused("program filter: PROG_LOAD: E*"),
		onModule(addImm(1))},
	{"code-kfunc-vmlinux", "the loader looks for a module's function in vmlinux", "kfunc_module",
		refused("program filter: PROG_LOAD: E*"), onModule(setImm(0))},
	{"code-kfunc-id", "the loader puts a kernel function's id into the wrong call", "kfunc_task",
		refused("program newtask: PROG_LOAD: E*"), moveStore("newtask", trace.FixupCall, 8)},
	{"code-module-kept", "the loader forgets the types of a module", "kfunc_module",
		Want{Refused: "program filter: PROG_LOAD: E*", Failure: fds},
		onModule(func(code insn.Insns, i int) {
			// The store to the module's fd slot comes before the instruction that sets the index.
			storeConstant(-1)(code, i-1)
		})},
	{"code-step", "the loader blames another step", "fail_second",
		failing("replay: expected \"outside\" in the error*"),
		onResult(programNamed("outside"), func(code insn.Insns, i int) {
			code.SetOff(i, code.Off(i)-4) // the program before it
		})},
	{"code-unchecked", "the loader does not look whether a program was loaded", "fail_second",
		// The error blames the next program, which was verified in vain.
		Want{Failure: "replay: expected \"outside\" in the error*", Also: []field.Field{field.Load("errno"), field.Load("log")}},
		onResult(programNamed("outside"), storeConstant(0))},
	{"code-not-closed", "the loader leaves a map open after a failure", "fail_second",
		failing(fds), onResult(mapNamed(""), storeConstant(0))},
}
