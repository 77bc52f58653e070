package mutate

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// differs, refused and failing make declarations.

func differs(f field.Field, also ...field.Field) Want { return Want{Field: f, Also: also} }
func refused(pattern string) Want                     { return Want{Refused: pattern} }
func failing(pattern string) Want                     { return Want{Failure: pattern} }

// fds matches the failure of a load that does not close one of its fds.
const fds = "replay left behind * file descriptors"

// table has all mutations of traces and loader programs.
var table = slices.Concat(ofMaps, ofValues, ofReferences, ofSymbols, ofPrograms, ofTypes, ofCORE, ofOwnership, ofLoaders)

// folded are fields that also differ if the verifier can no longer treat a read as constant: since
// 7.3 it removes branches on constants.
var folded = []field.Field{field.Function("run", "", "insns"), field.Function("run", "", "line_info"), field.Program("run", "maps"), field.Program("run", "bound")}

var ofMaps = []Mutation{
	{
		Name: "map-type", About: "a map of another type", Case: "maps_hash",
		Want: differs(field.Map("flows", "type"), field.Function("count", "", "insns"), field.Function("count", "", "line_info")), onTrace: onMap("flows", func(a *trace.MapAttr) { a.Type = 9 }), // LRU_HASH
	},
	{
		Name: "map-percpu-lost", About: "one value for all CPUs in the place of one each", Case: "maps_percpu",
		Want: differs(field.Map("array", "type"), field.Function("look", "", "insns"), field.Function("look", "", "line_info")), onTrace: onMap("array", func(a *trace.MapAttr) { a.Type = 2 }), // ARRAY
	},
	{
		Name: "map-key-size", About: "keys that are too long", Case: "maps_only",
		Want:    refused("map alone: MAP_CREATE: EINVAL"),
		onTrace: onMap("alone", func(a *trace.MapAttr) { a.KeySize += 4 }),
	},
	{
		Name: "map-value-size", About: "values that are too long", Case: "maps_only",
		Want:    refused("map alone: MAP_CREATE: EINVAL"),
		onTrace: onMap("alone", func(a *trace.MapAttr) { a.ValueSize += 4 }),
	},
	{
		Name: "map-max-entries", About: "one element more", Case: "maps_hash",
		Want: differs(field.Map("flows", "max_entries")), onTrace: onMap("flows", func(a *trace.MapAttr) { a.MaxEntries++ }),
	},
	{
		Name: "map-setting-lost", About: "a size that the target decides is made up", Case: "maps_perf_event_array",
		Want: differs(field.Map("events", "max_entries")),
		onTrace: on(mapNamed("events"), func(c *trace.CreateMap) {
			c.CPUs, c.Attr.MaxEntries = nil, 3
		}),
	},
	{
		Name: "map-cpus-other", About: "a map of CPUs has room for another number of them", Case: "maps_cpumap",
		Want: differs(field.Map(field.Any, "max_entries")), onTrace: onMap("", func(a *trace.MapAttr) { a.MaxEntries++ }),
	},
	{
		Name: "map-flags-added", About: "a hash is not preallocated that should be", Case: "maps_hash",
		Want: differs(field.Map("flows", "flags")), onTrace: onMap("flows", func(a *trace.MapAttr) { a.Flags |= 1 }),
	},
	{
		Name: "map-flags-lost", About: "a hash is preallocated that should not be", Case: "maps_hash",
		Want: differs(field.Map("sparse", "flags")), onTrace: onMap("sparse", func(a *trace.MapAttr) { a.Flags = 0 }),
	},
	{
		Name: "map-access", About: "user space may write where it may only read", Case: "maps_flags",
		Want: differs(field.Map("user_reads", "access")), onTrace: onMap("user_reads", func(a *trace.MapAttr) { a.Flags = 0 }),
	},
	{
		Name: "map-program-access", About: "programs may write where they may only read", Case: "maps_flags",
		Want: differs(field.Map("program_reads", "flags")), onTrace: onMap("program_reads", func(a *trace.MapAttr) { a.Flags = 0 }),
	},
	{
		Name: "data-not-mmapable", About: "user space cannot map a data section", Case: "data_sections",
		Want: differs(field.Map(".data", "flags")), onTrace: onMap(".data", func(a *trace.MapAttr) { a.Flags &^= 1 << 10 }),
	},
	{
		Name: "static-data-mmapable", About: "user space can map a data section of static variables", Case: "data_static",
		Want: differs(field.Map(".data", "flags")), onTrace: onMap(".data", func(a *trace.MapAttr) { a.Flags |= 1 << 10 }),
	},
	{
		Name: "rodata-writable", About: "programs may write to constants", Case: "data_sections",
		Want:    differs(field.Map(".rodata", "flags"), folded...),
		onTrace: onMap(".rodata", func(a *trace.MapAttr) { a.Flags &^= 1 << 7 }),
	},
	{
		Name: "map-name", About: "a map's name is cut too early", Case: "maps_hash",
		Want: differs(field.Map("flows", "name")), onTrace: onMap("flows", func(a *trace.MapAttr) { a.Name = "flow" }),
	},
	{
		Name: "data-map-name", About: "a data section's map is named without its object", Case: "data_sections",
		Want: differs(field.Map(".rodata", "name")), onTrace: onMap(".rodata", func(a *trace.MapAttr) { a.Name = "rodata" }),
	},
	{
		Name: "map-names-swapped", About: "two maps have each other's names", Case: "refs_many",
		Want: differs(field.Map("a", "name"), field.Map("b", "name")),
		onTrace: pair(mapNamed("a"), mapNamed("b"), func(a, b *trace.CreateMap) {
			a.Attr.Name, b.Attr.Name = b.Attr.Name, a.Attr.Name
		}),
	},
	{
		Name: "map-extra", About: "a bloom filter with one hash more", Case: "maps_bloom_filter",
		Want: differs(field.Map("seen", "map_extra")), onTrace: onMap("seen", func(a *trace.MapAttr) { a.Extra++ }),
	},
	{
		Name: "map-numa-lost", About: "a map's NUMA node is forgotten", Case: "maps_numa",
		Want: differs(field.Map("local", "flags"), field.Map("local", "numa_node")), onTrace: onMap("local", func(a *trace.MapAttr) { a.Flags = 0 }),
	},
	{
		Name: "map-numa-any", About: "a map's NUMA node is any", Case: "maps_numa",
		Want: differs(field.Map("local", "numa_node")), onTrace: onMap("local", func(a *trace.MapAttr) { a.NUMANode = 1<<32 - 1 }),
	},
	{
		Name: "map-numa-other", About: "a map of a NUMA node that is not there", Case: "maps_numa",
		Want: refused("map local: MAP_CREATE: EINVAL"), onTrace: onMap("local", func(a *trace.MapAttr) { a.NUMANode = 700 }),
	},
	{
		Name: "map-types-lost", About: "a map without types", Case: "maps_hash",
		Want: differs(field.Map("flows", "btf"), field.Map("flows", "key_type"), field.Map("flows", "value_type")),
		onTrace: onMap("flows", func(a *trace.MapAttr) {
			a.BTF, a.KeyType, a.ValueType = trace.NoFD, 0, 0
		}),
	},
	{
		Name: "map-types-swapped", About: "a key's and a value's type change places", Case: "maps_struct_types",
		Want: refused("map macs: MAP_CREATE: EINVAL"),
		onTrace: onMap("macs", func(a *trace.MapAttr) {
			a.KeyType, a.ValueType = a.ValueType, a.KeyType
		}),
	},
	{
		Name: "map-key-type", About: "a key is of another type of its size", Case: "maps_only",
		Want: differs(field.Map("alone", "key_type")), onTrace: onMap("alone", func(a *trace.MapAttr) { a.KeyType++ }),
	},
	{
		Name: "map-value-type", About: "a value is of another type of its size", Case: "maps_only",
		Want: differs(field.Map("alone", "value_type")), onTrace: onMap("alone", func(a *trace.MapAttr) { a.ValueType++ }),
	},
	{
		Name: "inner-template-type", About: "an inner map's template is of another type", Case: "maps_of_maps",
		Want:    refused("map slots: MAP_UPDATE_ELEM: EINVAL"),
		onTrace: on(template, func(c *trace.CreateMap) { c.Attr.Type = 9 }), // LRU_HASH
	},
	{
		Name: "inner-template-size", About: "an inner map's template has longer values", Case: "maps_of_maps",
		Want: refused("map slots: MAP_UPDATE_ELEM: EINVAL"),
		onTrace: on(template, func(c *trace.CreateMap) {
			c.Attr.ValueSize += 8
			c.Attr.BTF, c.Attr.KeyType, c.Attr.ValueType = trace.NoFD, 0, 0
		}),
	},
	{
		Name: "inner-template-other", About: "a map of maps wants inner maps of another type", Case: "maps_of_maps",
		Want: differs(field.Map("later", "inner")),
		onTrace: on(func(c *trace.CreateMap) bool { return template(c) && c.Name == "later.inner" }, func(c *trace.CreateMap) {
			c.Attr.Type = 9 // LRU_HASH
		}),
	},
	{
		Name: "inner-template-lost", About: "a map of maps without a template", Case: "maps_of_maps",
		Want:    refused("map slots: MAP_CREATE: E*"),
		onTrace: on(mapNamed("slots"), func(c *trace.CreateMap) { c.Inner = trace.NoFD }),
	},
	{
		Name: "drop-freeze", About: "constants that user space may change", Case: "data_sections",
		Want: differs(field.Map(".rodata", "frozen"), folded...), onTrace: drop(freezeOf("")),
	},
	{
		Name: "freeze-other", About: "variables are frozen and constants are not", Case: "data_sections",
		Want: differs(field.Map(".rodata", "frozen"), append([]field.Field{field.Map(".data", "frozen")}, folded...)...),
		onTrace: func(t *trace.Trace) {
			_, data := command(t, mapNamed(".data"))
			i, f := command(t, freezeOf(".rodata"))
			last, _ := command(t, valueOf(".data"))
			if data == nil || i < 0 || last < i {
				return
			}
			t.Commands = slices.Insert(slices.Delete(t.Commands, i, i+1), last, trace.Command(&trace.Freeze{Map: data.Out, Name: f.Name}))
		},
	},
	{
		Name: "freeze-early", About: "constants are frozen before they are written", Case: "data_sections",
		Want: refused("map .rodata: MAP_UPDATE_ELEM: EPERM"),
		onTrace: func(t *trace.Trace) {
			i, v := command(t, valueOf(".rodata"))
			j, f := command(t, freezeOf(".rodata"))
			if i >= 0 && j >= 0 {
				t.Commands[i], t.Commands[j] = f, v
			}
		},
	},
}

var ofValues = []Mutation{
	{
		Name: "drop-value", About: "a data section without its initial value", Case: "data_sections",
		Want: differs(field.Map(".rodata", "contents"), field.Program("run", field.Any), field.Map(field.Any, "contents after runs")), onTrace: drop(valueOf("")),
	},
	{
		Name: "value-bit", About: "one bit of a constant is wrong", Case: "data_sections",
		Want: differs(field.Map(".rodata", "contents")), onTrace: onValue(".rodata", flip(20, 1)),
	},
	{
		Name: "value-truncated", About: "the end of the constants is missing", Case: "data_sections",
		Want: differs(field.Map(".rodata", "contents")), onTrace: onValue(".rodata", func(v []byte) { clear(v[len(v)/2:]) }),
	},
	{
		Name: "value-shifted", About: "variables lie a byte further", Case: "data_sections",
		Want: differs(field.Map(".data", "contents")), onTrace: onValue(".data", func(v []byte) { copy(v[min(1, len(v)):], slices.Clone(v)) }),
	},
	{
		Name: "value-of-other", About: "variables start as another section does", Case: "data_sections",
		Want: differs(field.Map(".data", "contents")),
		onTrace: pair(valueOf(".data"), valueOf(".rodata"), func(a, b *trace.UpdateElem) {
			value := make([]byte, len(a.Value))
			copy(value, b.Value)
			a.Value = value
		}),
	},
	{
		Name: "value-in-bss", About: "variables that start at 0 do not", Case: "data_sections",
		Want: differs(field.Map(".bss", "contents")),
		onTrace: func(t *trace.Trace) {
			i, c := command(t, mapNamed(".bss"))
			if c == nil {
				return
			}
			value := make([]byte, c.Attr.ValueSize)
			flip(3, 9)(value)
			t.Commands = slices.Insert(t.Commands, i+1, trace.Command(&trace.UpdateElem{Map: c.Out, Name: c.Name, Key: make([]byte, 4), Value: value}))
		},
	},
	{
		Name: "value-custom", About: "a byte of a custom section is wrong", Case: "data_custom",
		Want: differs(field.Map(".data.foo", "contents")), onTrace: onValue("", flip(0, 0x80)),
	},
	{
		Name: "value-flags", About: "an update that insists on a new element", Case: "data_sections",
		Want:    refused("map .data: MAP_UPDATE_ELEM: EEXIST"),
		onTrace: on(valueOf(".data"), func(c *trace.UpdateElem) { c.Flags = 1 }),
	},
	{
		Name: "value-key", About: "an initial value for the second of one elements", Case: "data_sections",
		Want:    refused("map .data: MAP_UPDATE_ELEM: E2BIG"),
		onTrace: on(valueOf(".data"), func(c *trace.UpdateElem) { c.Key = []byte{1, 0, 0, 0} }),
	},
	{
		Name: "value-literal", About: "a constant that the compiler made is wrong", Case: "maps_hash",
		Want: differs(field.Map(".rodata.cst16", "contents")), onTrace: onValue(".rodata.cst16", flip(12, 0x11)),
	},
	{
		Name: "slot-drop", About: "an inner map is not in its slot", Case: "maps_of_maps",
		Want: differs(field.Map("slots", "contents")), onTrace: drop(slotOf("slots")),
	},
	{
		Name: "slot-off-by-one", About: "an inner map is in the next slot", Case: "maps_of_maps",
		Want:    differs(field.Map("slots", "contents")),
		onTrace: on(slotOf("slots"), func(c *trace.UpdateElem) { c.Key = []byte{c.Key[0] + 1, 0, 0, 0} }),
	},
	{
		Name: "slots-swapped", About: "two inner maps are in each other's slots", Case: "maps_of_maps",
		Want: differs(field.Map("slots", "contents")),
		onTrace: func(t *trace.Trace) {
			i, a := command(t, slotOf("slots"))
			_, b := command(t, func(c *trace.UpdateElem) bool { return slotOf("slots")(c) && c != a })
			if i >= 0 && b != nil {
				a.FD, b.FD = b.FD, a.FD
			}
		},
	},
	{
		Name: "slot-beyond", About: "an inner map in a slot behind the last", Case: "maps_of_maps",
		Want:    refused("map slots: MAP_UPDATE_ELEM: E2BIG"),
		onTrace: on(slotOf("slots"), func(c *trace.UpdateElem) { c.Key = []byte{4, 0, 0, 0} }),
	},
	{
		Name: "prog-slot-drop", About: "a program is not in its slot", Case: "maps_prog_slots",
		Want: differs(field.Map("jumps", "contents")), onTrace: drop(slotOf("jumps")),
	},
	{
		Name: "prog-slot-off-by-one", About: "a program is in the next slot", Case: "maps_prog_slots",
		Want:    differs(field.Map("jumps", "contents")),
		onTrace: on(slotOf("jumps"), func(c *trace.UpdateElem) { c.Key = []byte{c.Key[0] + 1, 0, 0, 0} }),
	},
	{
		Name: "prog-slot-other", About: "a slot holds another program", Case: "maps_prog_slots",
		Want:    differs(field.Map("jumps", "contents")),
		onTrace: on(slotOf("jumps"), func(c *trace.UpdateElem) { c.FD++ }),
	},
	{
		Name: "prog-slot-map", About: "a slot for a program is given a map", Case: "maps_prog_slots",
		Want:    refused("map jumps: MAP_UPDATE_ELEM: E*"),
		onTrace: on(slotOf("jumps"), func(c *trace.UpdateElem) { c.FD = c.Map }),
	},
}

var ofReferences = []Mutation{
	{
		Name: "refs-swapped", About: "two references to maps are swapped", Case: "refs_many",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "maps")), onTrace: swapRefs("run", "a", "b"),
	},
	{
		Name: "ref-other", About: "all references to a map lead to another", Case: "refs_many",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "maps"), field.Program("run", "bound")),
		onTrace: func(t *trace.Trace) {
			onProgram("run", func(c *trace.LoadProgram) {
				for i := range c.Fixups {
					if toMap(t, "c")(&c.Fixups[i]) {
						c.Fixups[i].FD--
					}
				}
			})(t)
		},
	},
	{
		Name: "ref-data-other", About: "a reference into .data leads into .bss", Case: "data_sections",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "maps")), onTrace: swapRefs("run", ".bss", ".data"),
	},
	{
		Name: "ref-offset", About: "a reference into data leads eight bytes too early", Case: "data_sections",
		Want: differs(field.Function("run", "", "insns")), onTrace: onRef("run", insn.PseudoMapValue, 5, addSecondImm(-8)),
	},
	{
		Name: "ref-offset-first", About: "a reference into constants leads to their start", Case: "data_sections",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "verified_insns")),
		onTrace: onRef("run", insn.PseudoMapValue, 2, func(p insn.Insns, i int) {
			p.SetImm(i+1, 0)
		}),
	},
	{
		Name: "ref-offset-beyond", About: "a reference into data leads behind it", Case: "refs_many",
		Want: refused("program run: PROG_LOAD: E*"), onTrace: onRef("run", insn.PseudoMapValue, 0, addSecondImm(4096)),
	},
	{
		Name: "ref-as-value", About: "a reference to a map leads to its first value", Case: "refs_many",
		Want: refused("program run: PROG_LOAD: *"),
		onTrace: onRef("run", insn.PseudoMapFD, 0, func(p insn.Insns, i int) {
			p.SetSrc(i, insn.PseudoMapValue)
		}),
	},
	{
		Name: "ref-unpatched", About: "a reference to a map is not completed", Case: "maps_hash",
		Want: refused("program count: PROG_LOAD: E*"), onTrace: dropFixup("count", trace.FixupMap, 1),
	},
	{
		Name: "ref-stale", About: "a reference to a map has the fd of the types", Case: "maps_hash",
		Want: refused("program count: PROG_LOAD: E*"),
		onTrace: func(t *trace.Trace) {
			if _, types := command(t, anyBTF); types != nil {
				onProgram("count", func(c *trace.LoadProgram) { fixup(c, 0, ofKind(trace.FixupMap)).FD = types.Out })(t)
			}
		},
	},
	{
		Name: "call-neighbour", About: "a call leads to the next function", Case: "subprogs_nested",
		Want: refused("program one: PROG_LOAD: EINVAL*"), onTrace: callTo("one", false, 0, 4),
	},
	{
		Name: "call-in-subprogram", About: "a call in a function leads to its neighbour", Case: "subprogs_nested",
		Want: differs(field.Function("one", "left", "insns")), onTrace: callTo("one", false, 5, 1),
	},
	{
		Name: "call-into-middle", About: "a call leads into the middle of a function", Case: "subprogs_static",
		Want:    refused("program first: PROG_LOAD: E*"),
		onTrace: onOp("first", insn.Call, 0, addImm(1)),
	},
	{
		Name: "call-dropped", About: "a function is not called", Case: "subprogs_static",
		Want:    differs(field.Function("second", "", "insns"), field.Program("second", field.Any)),
		onTrace: onOp("second", insn.Call, 1, nothing),
	},
	{
		Name: "callback-other", About: "a callback is the other one", Case: "callbacks_loop",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onTrace: callTo("run", true, 0, 2),
	},
	{
		Name: "callback-map", About: "a callback is called for another function's elements", Case: "callbacks_map",
		Want:    refused("program run: PROG_LOAD: E*"),
		onTrace: callTo("run", true, 0, 2),
	},
	{
		Name: "functions-reordered", About: "two functions change places", Case: "subprogs_nested",
		Want: differs(field.Program("one", "function_order"), field.Program("one", "tag"), field.Function("one", field.Any, "function_tag"), field.Program("one", "maps")), onTrace: reorder("one", 0, 4, 2, 3, 1),
	},
	{
		Name: "functions-reordered-last", About: "the last two functions change places", Case: "subprogs_static",
		Want: differs(field.Program("second", "function_order"), field.Program("second", "tag"), field.Function("second", field.Any, "function_tag")), onTrace: reorder("second", 0, 2, 1),
	},
}

var ofSymbols = []Mutation{
	{
		Name: "kfuncs-swapped", About: "two kernel functions are swapped", Case: "kfunc_module",
		Want: refused("program filter: PROG_LOAD: E*"), onTrace: swapSymbols("bpf_xdp_ct_lookup", "bpf_skb_ct_lookup"),
	},
	{
		Name: "kfunc-other", About: "another kernel function is called", Case: "kfunc_task",
		Want: refused("program newtask: PROG_LOAD: E*"), onTrace: renameSymbol("bpf_task_release", "bpf_task_acquire"),
	},
	{
		Name: "kfunc-missing", About: "a kernel function is looked up under a wrong name", Case: "kfunc_task",
		Want:    refused("program newtask: lookup of func bpf_task_acquir: ENOENT"),
		onTrace: renameSymbol("bpf_task_acquire", "bpf_task_acquir"),
	},
	{
		Name: "kfunc-kind", About: "a kernel function is looked for among variables", Case: "kfunc_task",
		Want:    refused("program newtask: lookup of var bpf_task_acquire: ENOENT"),
		onTrace: onSymbol("bpf_task_acquire", func(s *trace.Symbol) { s.BTFKind = uint32(btf.KindVar) }),
	},
	{
		Name: "kfunc-unpatched", About: "one call of a kernel function is not completed", Case: "kfunc_many",
		Want: refused("program newtask: PROG_LOAD: E*"), onTrace: dropFixup("newtask", trace.FixupCall, 200),
	},
	{
		Name: "kfunc-lookup-dropped", About: "a weak kernel function that is there is not looked up", Case: "kfunc_weak_present",
		Want:    differs(field.Function("newtask", "", "insns"), field.Program("newtask", field.Any)),
		onTrace: drop(func(c *trace.Lookup) bool { return true }),
	},
	{
		Name: "kfunc-weak-for-strong", About: "a kernel function that need not exist has to", Case: "kfunc_weak_missing",
		Want:    refused("program run: lookup of func bpfreplay_no_such_kfunc: ENOENT"),
		onTrace: onSymbol("bpfreplay_no_such_kfunc", func(s *trace.Symbol) { s.Weak = false }),
	},
	{
		Name: "kfunc-strong-for-weak", About: "a kernel function that has to exist need not", Case: "kfunc_missing",
		Want:    Want{Failure: "replay: expected \"bpfreplay_no_such_kfunc\" in the error*", Also: []field.Field{field.Load("errno")}},
		onTrace: onSymbol("bpfreplay_no_such_kfunc", func(s *trace.Symbol) { s.Weak = true }),
	},
	{
		Name: "kfunc-weak-called", About: "the call of a weak kernel function that is missing is left as a call", Case: "kfunc_weak_guarded",
		Want: refused("program run: PROG_LOAD: EINVAL*"),
		onTrace: onNth("run", 0, func(p insn.Insns, i int) bool { return p.IsCallTo(i, 0) && p.Imm(i) > 1<<20 }, func(p insn.Insns, i int) {
			p.SetSrc(i, insn.PseudoKfunc)
		}),
	},
	{
		Name: "kfunc-module-lost", About: "a module's kernel function is not found in the module", Case: "kfunc_module",
		Want:    refused("program filter: lookup of func bpf_xdp_ct_lookups: ENOENT"),
		onTrace: renameSymbol("bpf_xdp_ct_lookup", "bpf_xdp_ct_lookups"),
	},
	{
		Name: "ksyms-swapped", About: "two kernel symbols are swapped", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns")), onTrace: swapSymbols("vfs_read", "vfs_write"),
	},
	{
		Name: "ksym-other", About: "the address of another kernel symbol", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns")), onTrace: renameSymbol("vfs_write", "vfs_fsync"),
	},
	{
		Name: "ksym-unpatched", About: "one of two addresses is not filled in", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onTrace: dropFixup("run", trace.FixupAddress, 1),
	},
	{
		Name: "ksym-weak-for-strong", About: "a symbol that need not exist has to", Case: "ksym_typeless_weak",
		Want:    refused("program run: lookup of kernel symbol bpfreplay_no_such_symbol: ENOENT"),
		onTrace: onSymbol("bpfreplay_no_such_symbol", func(s *trace.Symbol) { s.Weak = false }),
	},
	{
		Name: "ksym-strong-for-weak", About: "a symbol that has to exist need not", Case: "ksym_typeless_missing",
		Want:    differs(field.Load("")),
		onTrace: onSymbol("bpfreplay_no_such_symbol", func(s *trace.Symbol) { s.Weak = true }),
	},
	{
		Name: "ksym-weak-there", About: "a symbol that is there is taken for missing", Case: "ksym_typeless_weak",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onTrace: renameSymbol("vfs_read", "vfs_rea"),
	},
	{
		Name: "ksym-typed-weak-for-strong", About: "a variable that need not exist has to", Case: "ksym_typed_weak",
		Want:    refused("program run: lookup of var bpfreplay_no_such_variable: ENOENT"),
		onTrace: onSymbol("bpfreplay_no_such_variable", func(s *trace.Symbol) { s.Weak = false }),
	},
	{
		Name: "ksym-typed-strong-for-weak", About: "a variable that has to exist need not", Case: "ksym_typed_missing",
		Want:    Want{Failure: "replay: expected \"bpfreplay_no_such_variable\" in the error*", Also: []field.Field{field.Load("errno")}},
		onTrace: onSymbol("bpfreplay_no_such_variable", func(s *trace.Symbol) { s.Weak = true }),
	},
	{
		Name: "ksym-typed-there", About: "a variable that is there is taken for missing", Case: "ksym_typed_weak",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onTrace: renameSymbol("runqueues", "runqueue"),
	},
	{
		Name: "ksyms-typed-swapped", About: "two variables of the kernel are swapped", Case: "ksym_typed",
		Want:    Want{Field: field.Function("run", "", "insns"), Also: []field.Field{field.Program(field.Any, field.Any)}, Refused: "program run: PROG_LOAD: E*"},
		onTrace: swapSymbols("runqueues", "bpf_prog_active"),
	},
}

var ofPrograms = []Mutation{
	{
		Name: "program-type", About: "a program of another type", Case: "prog_tc",
		Want: differs(field.Program("ingress", "type")), onTrace: onProgram("ingress", func(c *trace.LoadProgram) { c.Type = 4 }), // SCHED_ACT
	},
	{
		Name: "program-name", About: "a program's name is cut too early", Case: "maps_hash",
		Want: differs(field.Program("count", "name")), onTrace: onProgram("count", func(c *trace.LoadProgram) { c.Name = "coun" }),
	},
	{
		Name: "licence-lost", About: "a program without its licence", Case: "maps_hash",
		Want: differs(field.Program("count", "gpl")), onTrace: onProgram("count", func(c *trace.LoadProgram) { c.License = "" }),
	},
	{
		Name: "licence-other", About: "a program with a licence that is not its own", Case: "license_other",
		Want: differs(field.Program("run", "gpl")), onTrace: onProgram("run", func(c *trace.LoadProgram) { c.License = "GPL" }),
	},
	{
		Name: "licence-needed", About: "a program without the licence that its helpers want", Case: "core_field",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onTrace: onProgram("run", func(c *trace.LoadProgram) { c.License = "Apache-2.0" }),
	},
	{
		Name: "licence-given", About: "a licence that a program has not got makes it load", Case: "fail_license",
		Want: differs(field.Load("")), onTrace: onProgram("unlicensed", func(c *trace.LoadProgram) { c.License = "GPL" }),
	},
	{
		Name: "attach-target", About: "a program attaches to another function", Case: "prog_fentry",
		Want: differs(field.Program("before", "attach")), onTrace: renameSymbol("bpf_fentry_test1", "bpf_fentry_test2"),
	},
	{
		Name: "attach-targets-swapped", About: "two programs attach to each other's tracepoints", Case: "prog_tp_btf",
		Want:    differs(field.Program("enter", "attach"), field.Program("leave", "attach")),
		onTrace: swapSymbols("btf_trace_sys_enter", "btf_trace_sys_exit"),
	},
	{
		Name: "attach-target-hook", About: "a program attaches to another hook of the LSM", Case: "prog_lsm",
		Want: differs(field.Program("open", "attach"), field.Program("open", field.Any)), onTrace: renameSymbol("bpf_lsm_file_open", "bpf_lsm_file_permission"),
	},
	{
		Name: "attach-target-missing", About: "an attach target is looked up without its prefix", Case: "prog_tp_btf",
		Want:    refused("program enter: lookup of typedef sys_enter: ENOENT"),
		onTrace: renameSymbol("btf_trace_sys_enter", "sys_enter"),
	},
	{
		Name: "attach-target-lost", About: "a program without its attach target", Case: "prog_fentry",
		Want: refused("program before: PROG_LOAD: EINVAL*"), onTrace: onProgram("before", func(c *trace.LoadProgram) { c.Attach = nil }),
	},
	{
		Name: "attach-target-found", About: "a program whose target is missing attaches to another", Case: "fail_attach_target",
		Want: differs(field.Load("")), onTrace: renameSymbol("bpfreplay_no_such_function", "bpf_fentry_test1"),
	},
	{
		Name: "attach-type", About: "a program for the exit of a function is one for its entry", Case: "prog_fentry",
		Want: refused("program after: PROG_LOAD: EACCES*"), onTrace: onProgram("after", func(c *trace.LoadProgram) { c.AttachType = 24 }), // FENTRY
	},
	{
		Name: "attach-type-family", About: "a program for IPv4 is one for IPv6", Case: "prog_cgroup",
		Want: refused("program connect4: PROG_LOAD: E*"), onTrace: onProgram("connect4", func(c *trace.LoadProgram) { c.AttachType = 11 }), // CGROUP_INET6_CONNECT
	},
	{
		Name: "attach-type-map", About: "a program for a device map is one for devices", Case: "prog_xdp",
		Want: refused("program on_device: PROG_LOAD: E*"), onTrace: onProgram("on_device", func(c *trace.LoadProgram) { c.AttachType = 37 }), // XDP
	},
	{
		Name: "attach-type-lost", About: "an iterator is loaded as a raw tracepoint", Case: "prog_iter",
		Want: refused("program tasks: PROG_LOAD: E*"), onTrace: onProgram("tasks", func(c *trace.LoadProgram) { c.AttachType = 23 }), // TRACE_RAW_TP
	},
	{
		Name: "attach-type-cpu", About: "a program for a CPU map is one for devices", Case: "prog_xdp",
		Want: differs(field.Program("on_cpu", "attach_type")), onTrace: onProgram("on_cpu", func(c *trace.LoadProgram) { c.AttachType = 37 }), // XDP
	},
	{
		Name: "attach-type-entry", About: "a program for the entry of a function is one for its exit", Case: "prog_fentry",
		Want: differs(field.Program("before", "attach_type")), onTrace: onProgram("before", func(c *trace.LoadProgram) { c.AttachType = 25 }), // FEXIT
	},
	{
		Name: "attach-type-cgroup", About: "a program for one cgroup hook is one for another", Case: "prog_cgroup",
		Want: differs(field.Program("peer", "attach_type")), onTrace: onProgram("peer", func(c *trace.LoadProgram) { c.AttachType = 31 }), // CGROUP_INET4_GETSOCKNAME
	},
	{
		Name: "attach-type-multi", About: "a probe of many functions is one of a single one", Case: "prog_kprobe_multi",
		Want: differs(field.Program(field.Any, "attach_type")), onTrace: on(func(c *trace.LoadProgram) bool { return c.AttachType == 42 }, func(c *trace.LoadProgram) {
			c.AttachType = 0
		}),
	},
	{
		Name: "sleepable-forgotten", About: "a program that may sleep is loaded as one that must not", Case: "prog_lsm",
		Want: differs(field.Program("committed_creds", "sleepable")), onTrace: onProgram("committed_creds", func(c *trace.LoadProgram) { c.Flags = 0 }),
	},
	{
		Name: "frags-forgotten", About: "a program for packets in several buffers is one for those in one", Case: "prog_xdp_frags",
		Want: differs(field.Program("filter", "frags")), onTrace: onProgram("filter", func(c *trace.LoadProgram) { c.Flags = 0 }),
	},
	{
		Name: "sleepable-lost", About: "a program that sleeps must not", Case: "prog_sleepable",
		Want: refused("program open: PROG_LOAD: E*"), onTrace: onProgram("open", func(c *trace.LoadProgram) { c.Flags = 0 }),
	},
	{
		Name: "sleepable-added", About: "a program that cannot sleep is to", Case: "prog_tc",
		Want: refused("program ingress: PROG_LOAD: EINVAL*"), onTrace: onProgram("ingress", func(c *trace.LoadProgram) { c.Flags |= 1 << 4 }),
	},
	{
		Name: "insn-constant", About: "a constant in an instruction is wrong", Case: "license_other",
		Want:    differs(field.Function("run", "", "insns")),
		onTrace: onConstant("run", addImm(1)),
	},
	{
		Name: "insn-dropped", About: "an instruction is left out", Case: "maps_hash",
		Want:    refused("program count: PROG_LOAD: EACCES*"),
		onTrace: onOp("count", 0x07, 1, func(p insn.Insns, i int) { replace(p, i, opJump, 0, 0, 0, 0) }),
	},
	{
		Name: "helper-other", About: "another helper is called", Case: "maps_array",
		Want:    refused("program count: PROG_LOAD: E*"),
		onTrace: onOp("count", insn.Call, 0, func(p insn.Insns, i int) { p.SetImm(i, 3) }), // bpf_map_delete_elem
	},
	{
		Name: "insns-cut", About: "the last instruction is missing", Case: "license_other",
		Want: refused("program run: PROG_LOAD: EINVAL*"),
		onTrace: onProgram("run", func(c *trace.LoadProgram) {
			c.Insns = cut(c.Insns, insn.Size)
		}),
	},
	{
		Name: "insns-more", About: "there is one instruction too many", Case: "license_other",
		Want: refused("program run: PROG_LOAD: EINVAL*"),
		onTrace: onProgram("run", func(c *trace.LoadProgram) {
			c.Insns = append(slices.Clone(c.Insns), opMovImm, 0, 0, 0, 0, 0, 0, 0)
		}),
	},
	{
		Name: "program-drop", About: "a program is not loaded", Case: "subprogs_static",
		Want: refused("program second: *handed out no fd*"), onTrace: drop(programNamed("second")),
	},
	{
		Name: "programs-swapped", About: "two programs have each other's names", Case: "subprogs_static",
		Want: differs(field.Program("first", field.Any), field.Program("second", field.Any)),
		onTrace: pair(programNamed("first"), programNamed("second"), func(a, b *trace.LoadProgram) {
			a.Out, b.Out = b.Out, a.Out
		}),
	},
	{
		Name: "program-of-other", About: "a program has the instructions of another", Case: "btf_lines",
		Want: differs(field.Program("one_line", field.Any)),
		onTrace: pair(programNamed("one_line"), programNamed("run"), func(a, b *trace.LoadProgram) {
			name, out, program := a.Name, a.Out, a.Program
			*a = *b
			a.Name, a.Out, a.Program = name, out, program
		}),
	},
}

var ofTypes = []Mutation{
	{
		Name: "func-info-lost", About: "a program without types", Case: "subprogs_static",
		Want: differs(field.Program("second", "func_info"), field.Program("second", field.Any)),
		onTrace: onProgram("second", func(c *trace.LoadProgram) {
			c.BTF, c.FuncInfo, c.LineInfo = trace.NoFD, nil, nil
		}),
	},
	{
		Name: "func-info-swapped", About: "two functions have each other's names", Case: "subprogs_nested",
		Want: differs(field.Function("one", field.Any, field.Any), field.Program("one", "function_order")),
		onTrace: onProgram("one", func(c *trace.LoadProgram) {
			swap32(record(c.FuncInfo, c.FuncInfoRecSize, 1), record(c.FuncInfo, c.FuncInfoRecSize, 4), funcType)
		}),
	},
	{
		Name: "func-info-other", About: "a program is said to be another function", Case: "subprogs_static",
		Want: differs(field.Function("first", field.Any, field.Any), field.Program("first", field.Any)),
		onTrace: pair(programNamed("first"), programNamed("second"), func(a, b *trace.LoadProgram) {
			le.PutUint32(record(a.FuncInfo, a.FuncInfoRecSize, 0)[funcType:], le.Uint32(record(b.FuncInfo, b.FuncInfoRecSize, 0)[funcType:]))
		}),
	},
	{
		Name: "func-info-moved", About: "a function is said to start an instruction later", Case: "subprogs_static",
		Want: refused("program first: PROG_LOAD: EINVAL*"), onTrace: onFuncInfo("first", 1, func(rec []byte) { add32(rec, 0, 1) }),
	},
	{
		Name: "func-info-type", About: "a function's type is that of something else", Case: "subprogs_static",
		Want: refused("program first: PROG_LOAD: EINVAL*"), onTrace: onFuncInfo("first", 1, func(rec []byte) { le.PutUint32(rec[funcType:], 1) }),
	},
	{
		Name: "line-info-lost", About: "a program without source lines", Case: "btf_lines",
		Want: differs(field.Function("one_line", "", "line_info")), onTrace: onProgram("one_line", func(c *trace.LoadProgram) { c.LineInfo = nil }),
	},
	{
		Name: "line-info-cut", About: "the last source line is missing", Case: "btf_lines",
		Want:    differs(field.Function("run", field.Any, "line_info")),
		onTrace: onProgram("run", func(c *trace.LoadProgram) { c.LineInfo = cut(c.LineInfo, int(c.LineInfoRecSize)) }),
	},
	{
		Name: "line-number", About: "a source line is off by one", Case: "btf_lines",
		Want: differs(field.Function("run", "", "line_info")), onTrace: onLineInfo("run", 2, func(rec []byte) { add32(rec, linePos, 1<<10) }),
	},
	{
		Name: "line-column", About: "a column is off by one", Case: "btf_lines",
		Want: differs(field.Function("run", "", "line_info")), onTrace: onLineInfo("run", 2, func(rec []byte) { add32(rec, linePos, 1) }),
	},
	{
		Name: "line-text", About: "a source line has the text of another", Case: "btf_lines",
		Want: differs(field.Function("run", "", "line_info")), onTrace: onProgram("run", func(c *trace.LoadProgram) {
			last := len(c.LineInfo)/int(max(1, c.LineInfoRecSize)) - 1
			copy(record(c.LineInfo, c.LineInfoRecSize, 1)[lineText:linePos], record(c.LineInfo, c.LineInfoRecSize, last)[lineText:])
		}),
	},
	{
		Name: "line-file", About: "a source line is of another file", Case: "btf_lines",
		Want: differs(field.Function("run", "", "line_info")), onTrace: onLineInfo("run", 2, func(rec []byte) { copy(rec[lineFile:lineText], rec[lineText:]) }),
	},
	{
		Name: "line-moved", About: "a source line belongs to the next instruction", Case: "prog_large",
		Want: differs(field.Function("run", "", "line_info")), onTrace: onLineInfo("run", 1, func(rec []byte) { add32(rec, 0, 1) }),
	},
	{
		Name: "types-drop", About: "the types are not loaded", Case: "maps_hash",
		Want: refused("map flows: MAP_CREATE: EINVAL"), onTrace: drop(anyBTF),
	},
	{
		Name: "types-cut", About: "the types are cut off, and do without", Case: "data_sections",
		Want: differs(field.Map(".rodata", "btf"), field.Map(field.Any, field.Any), field.Program("run", field.Any)), onTrace: onBTF(func(raw []byte) { le.PutUint32(raw[btfStrLen:], le.Uint32(raw[btfStrLen:])-8) }),
	},
	{
		Name: "types-member", About: "a member of a struct has another name", Case: "data_sections",
		Want: differs(field.Map(".rodata", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")), onTrace: renameBTF("limit", "liMit"),
	},
	{
		Name: "types-variable", About: "a variable has another name", Case: "data_sections",
		Want: differs(field.Map(".data", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")), onTrace: renameBTF("initialised", "initialized"),
	},
	{
		Name: "types-function", About: "a function has another name", Case: "subprogs_global",
		Want: differs(field.Function("run", "sum", ""), field.Program("run", field.Any), field.Map(field.Any, "btf")), onTrace: renameBTF("sum", "SUM"),
	},
	{
		Name: "types-linkage", About: "a static function is global", Case: "subprogs_static",
		Want:    differs(field.Function("first", "mix", "linkage"), field.Function(field.Any, "mix", "linkage"), field.Program(field.Any, field.Any)),
		onTrace: onType(btf.KindFunc, "mix", func(typ []byte) { add32(typ, btfInfo, 1) }),
	},
	{
		Name: "types-sign", About: "an unsigned number is signed", Case: "maps_only",
		Want:    differs(field.Map("alone", "key_type"), field.Map(field.Any, field.Any)),
		onTrace: onType(btf.KindInt, "unsigned int", func(typ []byte) { typ[btfTypeSize+3] |= 1 }),
	},
	{
		Name: "types-prototype", About: "a function returns another type", Case: "subprogs_global",
		Want: Want{Field: field.Function("run", field.Any, "prototype"), Also: []field.Field{field.Program("run", field.Any), field.Map(field.Any, "btf")}, Refused: "program run: PROG_LOAD: E*"},
		onTrace: func(t *trace.Trace) {
			id := uint32(0)
			onType(btf.KindFunc, "sum", func(typ []byte) { id = le.Uint32(typ[btfSizeType:]) })(t)
			onType(btf.KindFunc, "with_ctx", func(typ []byte) { le.PutUint32(typ[btfSizeType:], id) })(t)
		},
	},
	{
		Name: "types-untouched-name", About: "a type that nothing in the kernel shows has another name", Case: "maps_hash",
		Want: differs(field.Map("flows", "key_type"), field.Map(field.Any, "btf"), field.Program("count", "btf")), onTrace: renameBTF("sport", "spor2"),
	},
}

var ofCORE = []Mutation{
	{
		Name: "core-dropped", About: "a CO-RE relocation is missing", Case: "core_field",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "tag")), onTrace: onProgram("run", func(c *trace.LoadProgram) { c.CORE = c.CORE[:max(0, len(c.CORE)-1)] }),
	},
	{
		Name: "core-all-dropped", About: "no CO-RE relocation is there", Case: "core_field",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", "tag"), field.Program("run", "verified_insns")), onTrace: onProgram("run", func(c *trace.LoadProgram) { c.CORE = nil }),
	},
	{
		Name: "core-moved", About: "a CO-RE relocation is applied to the next instruction", Case: "core_field",
		Want:    Want{Field: field.Function("run", "", "insns"), Also: []field.Field{field.Program("run", field.Any)}, Refused: "program run: PROG_LOAD: E*"},
		onTrace: onCORE("run", 1, func(r *core.Record) { r.InsnOff += insn.Size }),
	},
	{
		Name: "core-field", About: "a CO-RE relocation is about another member", Case: "core_field",
		Want: differs(field.Function("run", "", "insns")), onTrace: onProgram("run", func(c *trace.LoadProgram) {
			a, b, p := relocation(c, 0), relocation(c, 4), insn.Insns(c.Insns)
			a.AccessStr = b.AccessStr
			// The kernel needs the object's own types.
			p.SetImm(int(a.InsnOff)/insn.Size, p.Imm(int(b.InsnOff)/insn.Size))
		}),
	},
	{
		Name: "core-access", About: "a CO-RE relocation does not fit its instruction", Case: "core_field",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onTrace: onProgram("run", func(c *trace.LoadProgram) {
			relocation(c, 0).AccessStr = relocation(c, 4).AccessStr
		}),
	},
	{
		Name: "core-swapped", About: "two CO-RE relocations are swapped", Case: "core_field",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onTrace: onProgram("run", func(c *trace.LoadProgram) {
			a, b := relocation(c, 0), relocation(c, 5)
			a.AccessStr, b.AccessStr = b.AccessStr, a.AccessStr
		}),
	},
	{
		Name: "core-kind", About: "a CO-RE relocation asks for the size and not for existence", Case: "core_exists",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onTrace: onCORE("run", 0, func(r *core.Record) { r.Kind = core.FieldByteSize }),
	},
	{
		Name: "core-value", About: "an enumerator's value is not that of this kernel", Case: "core_enums",
		Want: refused("program run: PROG_LOAD: *"), onTrace: onCORE("run", 1, func(r *core.Record) { r.Kind = core.EnumvalExists }),
	},
	{
		Name: "core-type", About: "a CO-RE relocation is about another type", Case: "core_field",
		Want:    Want{Field: field.Function("run", "", "insns"), Also: []field.Field{field.Program("run", field.Any)}, Refused: "program run: PROG_LOAD: E*"},
		onTrace: onCORE("run", 2, func(r *core.Record) { r.TypeID++ }),
	},
	{
		Name: "core-subprogram", About: "a function's CO-RE relocations do not move with it", Case: "core_subprogs",
		Want: Want{Field: field.Function("run", field.Any, "insns"), Also: []field.Field{field.Program("run", field.Any)}, Refused: "program run: PROG_LOAD: E*"},
		onTrace: onProgram("run", func(c *trace.LoadProgram) {
			relocation(c, len(c.CORE)-1).InsnOff -= uint32(lastStart(c) * insn.Size)
		}),
	},
}

var ofOwnership = []Mutation{
	{
		Name: "types-left-open", About: "the types stay open", Case: "maps_hash",
		Want: failing(fds), onTrace: drop(func(c *trace.Close) bool { return true }),
	},
	{
		Name: "template-left-open", About: "an inner map's template stays open", Case: "maps_of_maps",
		Want: failing(fds), onTrace: drop(func(c *trace.Close) bool { return true }),
	},
	{
		Name: "module-left-open", About: "the types of a module stay open", Case: "kfunc_module",
		Want: failing(fds), onTrace: func(t *trace.Trace) {
			if _, types := command(t, anyBTF); types != nil {
				drop(func(c *trace.Close) bool { return c.FD != types.Out })(t)
			}
		},
	},
	{
		Name: "map-twice", About: "a map is made twice", Case: "maps_hash",
		Want: failing(fds), onTrace: again(mapNamed("flows"), func(c *trace.CreateMap, out trace.FD) trace.Command {
			n := *c
			n.Map, n.Out = nil, out
			return &n
		}),
	},
	{
		Name: "program-twice", About: "a program is loaded twice", Case: "maps_hash",
		Want: failing(fds), onTrace: again(programNamed("count"), func(c *trace.LoadProgram, out trace.FD) trace.Command {
			n := *c
			n.Out = out
			return &n
		}),
	},
	{
		Name: "program-twice-one-fd", About: "a program is loaded twice and its first fd forgotten", Case: "maps_hash",
		Want: failing(fds), onTrace: again(programNamed("count"), func(c *trace.LoadProgram, out trace.FD) trace.Command { return c }),
	},
	{
		Name: "types-closed-early", About: "the types are closed before they are used", Case: "maps_hash",
		Want: refused("program count: PROG_LOAD: E*"), onTrace: func(t *trace.Trace) {
			i, c := command(t, func(c *trace.Close) bool { return true })
			j, _ := command(t, programNamed("count"))
			if i >= 0 && j >= 0 {
				t.Commands = slices.Insert(slices.Delete(t.Commands, i, i+1), j, trace.Command(c))
			}
		},
	},
	{
		Name: "template-closed-early", About: "a template is closed before its map is made", Case: "maps_of_maps",
		Want: refused("map slots: MAP_CREATE: E*"), onTrace: func(t *trace.Trace) {
			i, c := command(t, func(c *trace.Close) bool { return true })
			if i > 0 {
				t.Commands[i], t.Commands[i-1] = t.Commands[i-1], c
			}
		},
	},
}

var ofLoaders = []Mutation{
	{
		Name: "blob-map-flags", About: "a map's flags are wrong in the blob", Case: "maps_hash",
		Want: differs(field.Map("sparse", "flags")), onLoader: inMap("sparse", flip(16, 1)),
	},
	{
		Name: "blob-map-entries", About: "a map's size is wrong in the blob", Case: "maps_hash",
		Want: differs(field.Map("sparse", "max_entries")), onLoader: inMap("sparse", flip(bpfsys.MapCreateMaxEntries, 2)),
	},
	{
		Name: "blob-map-key-type", About: "a map's key type is wrong in the blob", Case: "maps_struct_types",
		Want: differs(field.Map("macs", "key_type")), onLoader: inMap("macs", func(attr []byte) { add32(attr, bpfsys.MapCreateKeyType, 1) }),
	},
	{
		Name: "blob-value", About: "a constant is wrong in the blob", Case: "data_strings",
		Want: differs(field.Map(".rodata", "contents")), onLoader: func(p *Program) {
			if _, c := command(p.Trace, valueOf("")); c != nil {
				partOf(p, c.Value)[0] ^= 4
			}
		},
	},
	{
		Name: "blob-insn", About: "an instruction is flipped in the blob", Case: "maps_hash",
		Want: differs(field.Function("count", "", "insns"), field.Program("count", "tag"), field.Program("count", "verified_insns")), onLoader: inProgram("count", func(p insn.Insns) {
			nth(p, 0, func(p insn.Insns, i int) bool { return p.Op(i) == opMovImm && p.Imm(i) == 1 }, addImm(1))
		}),
	},
	{
		Name: "blob-insn-count", About: "a program is one instruction short in the blob", Case: "license_other",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onLoader: inAttr("run", flip(4, 3)),
	},
	{
		Name: "blob-program-name", About: "a program's name is wrong in the blob", Case: "maps_hash",
		Want: differs(field.Program("count", "name")), onLoader: inAttr("count", flip(progLoadName, 0x20)),
	},
	{
		Name: "blob-program-type", About: "a program's type is wrong in the blob", Case: "prog_tc",
		Want: differs(field.Program("act", "type")), onLoader: inAttr("act", flip(0, 7)),
	},
	{
		Name: "blob-licence", About: "the licence is wrong in the blob", Case: "maps_hash",
		Want: differs(field.Program("count", "gpl")), onLoader: inText("Dual BSD/GPL", "Dual BSD/BSD"),
	},
	{
		Name: "blob-symbol", About: "a kernel symbol's name is wrong in the blob", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns")), onLoader: inText("vfs_read", "vfs_open"),
	},
	{
		Name: "blob-types", About: "the types are wrong in the blob", Case: "data_sections",
		Want:     differs(field.Map(".rodata", "value_type"), field.Map(field.Any, "btf"), field.Program("run", "btf")),
		onLoader: inBTF(func(raw []byte) { renameIn(raw, "enabled", "disable") }),
	},
	{
		Name: "blob-line", About: "a source line is wrong in the blob", Case: "btf_lines",
		Want: differs(field.Function("one_line", "", "line_info")), onLoader: func(p *Program) {
			if _, c := command(p.Trace, programNamed("one_line")); c != nil {
				add32(partOf(p, c.LineInfo), linePos, 1<<10)
			}
		},
	},
	{
		Name: "blob-core", About: "a CO-RE relocation is wrong in the blob", Case: "core_field",
		Want: refused("program run: PROG_LOAD: EINVAL*"), onLoader: func(p *Program) {
			if _, c := command(p.Trace, programNamed("run")); c != nil {
				b := partOf(p, core.Encode(c.CORE))
				copy(record(b, coreSize, 0)[coreAccess:coreKind], record(b, coreSize, 4)[coreAccess:])
			}
		},
	},
	{
		Name: "code-freeze", About: "the loader does not freeze", Case: "data_sections",
		Want: differs(field.Map(".rodata", "frozen"), folded...), onLoader: skip(freezeOf(".rodata")),
	},
	{
		Name: "code-value", About: "the loader writes no value", Case: "data_sections",
		Want: differs(field.Map(".data", "contents")), onLoader: skip(valueOf(".data")),
	},
	{
		Name: "code-slot", About: "the loader fills no slot", Case: "maps_of_maps",
		Want: differs(field.Map("slots", "contents")), onLoader: skip(slotOf("slots")),
	},
	{
		Name: "code-maps-swapped", About: "the loader hands out two maps for each other", Case: "maps_hash",
		Want: differs(field.Map("flows", field.Any), field.Map("sparse", field.Any), field.Program("count", field.Any)), onLoader: swapMaps("flows", "sparse"),
	},
	{
		Name: "code-programs-swapped", About: "the loader hands out two programs for each other", Case: "subprogs_static",
		Want: differs(field.Program("first", field.Any), field.Program("second", field.Any)), onLoader: swapPrograms("first", "second"),
	},
	{
		Name: "code-map-twice", About: "the loader hands out one map twice", Case: "maps_hash",
		Want: Want{Refused: "loaded, but: *map sparse: *", Failure: fds}, onLoader: func(p *Program) {
			end := insn.Insns(p.Insns).Len() - 2 // the result, exit
			insert(p, end, opLoad, r1, rCtx, int16(artefact.CtxMap(mapIndex(p, "flows"))), 0)
			insert(p, end+1, opStore, rCtx, r1, int16(artefact.CtxMap(mapIndex(p, "sparse"))), 0)
		},
	},
	{
		Name: "code-program-kept", About: "the loader does not hand out a program", Case: "subprogs_static",
		Want: Want{Refused: "program first: *", Failure: fds}, onLoader: func(p *Program) {
			inCode(p, 0, storeTo(rCtx, r0, ctxProgram(p, "first")), func(code insn.Insns, i int) {
				replace(code, i, opStoreImm, rCtx, 0, code.Off(i), 0)
			})
		},
	},
	{
		Name: "code-ref-moved", About: "the loader puts a map's fd into the wrong instruction", Case: "maps_hash",
		Want: refused("program count: PROG_LOAD: E*"), onLoader: moveStore("count", trace.FixupMap, 0, r0, 4, 16),
	},
	{
		Name: "code-ref-second", About: "the loader puts a map's fd into the second half of a 64-bit load", Case: "data_sections",
		Want: refused("program run: PROG_LOAD: E*"), onLoader: moveStore("run", trace.FixupMap, 0, r0, 4, 8),
	},
	{
		Name: "code-ksym-off", About: "the loader puts an address that is 8 too high", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onLoader: func(p *Program) {
			i := find(p, 0, func(code insn.Insns, i int) bool {
				return code.Op(i) == opLoad64 && code.Dst(i) == r0 && code.Src(i) == rBase
			})
			if i >= 0 {
				insert(p, i+1, opAddImm, r0, 0, 0, 8)
			}
		},
	},
	{
		Name: "code-ksym-halves", About: "the loader swaps the halves of an address", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onLoader: func(p *Program) {
			at := site(p, "run", trace.FixupAddress, 0)
			i, j := find(p, 0, storeTo(rBase, r0, at+4)), find(p, 0, storeTo(rBase, r3, at+4+insn.Size))
			if i >= 0 && j >= 0 {
				insn.Insns(p.Insns).SetSrc(i, r3)
				insn.Insns(p.Insns).SetSrc(j, r0)
			}
		},
	},
	{
		Name: "code-ksym-half", About: "the loader puts half of an address", Case: "ksym_typeless",
		Want: differs(field.Function("run", "", "insns"), field.Program("run", field.Any)), onLoader: func(p *Program) {
			at := site(p, "run", trace.FixupAddress, 1)
			inCode(p, 0, storeTo(rBase, r3, at+4+insn.Size), func(code insn.Insns, i int) {
				replace(code, i, opStoreImm, rBase, 0, code.Off(i), 0)
			})
		},
	},
	{
		Name: "code-kfunc-index", About: "the loader names another slot of fd_array", Case: "kfunc_module",
		Want: Want{Field: field.Function("filter", "", "kfunc_index"), Also: []field.Field{field.Program("filter", "tag")}, Refused: "program filter: PROG_LOAD: E*"}, onLoader: func(p *Program) {
			inCode(p, 0, slotOfModule(p), addImm(1))
		},
	},
	{
		Name: "code-kfunc-vmlinux", About: "the loader looks for a module's function in vmlinux", Case: "kfunc_module",
		Want: refused("program filter: PROG_LOAD: E*"), onLoader: func(p *Program) {
			inCode(p, 0, slotOfModule(p), func(code insn.Insns, i int) { code.SetImm(i, 0) })
		},
	},
	{
		Name: "code-kfunc-id", About: "the loader puts a kernel function's id into the wrong call", Case: "kfunc_task",
		Want: refused("program newtask: PROG_LOAD: E*"), onLoader: moveStore("newtask", trace.FixupCall, 0, r0, 4, 8),
	},
	{
		Name: "code-module-kept", About: "the loader forgets the types of a module", Case: "kfunc_module",
		Want: Want{Refused: "program filter: PROG_LOAD: E*", Failure: fds}, onLoader: func(p *Program) {
			// The store to the module's fd slot comes before the instruction that sets the index.
			inCode(p, 0, slotOfModule(p), func(code insn.Insns, i int) {
				replace(code, i-1, opStoreImm, rBase, 0, code.Off(i-1), -1)
			})
		},
	},
	{
		Name: "code-step", About: "the loader blames another step", Case: "fail_second",
		Want: failing("replay: expected \"outside\" in the error*"), onLoader: func(p *Program) {
			if i := resultOf(p, programNamed("outside")); i >= 0 {
				code := insn.Insns(p.Insns)
				code.SetOff(i, code.Off(i)-4) // the program before it
			}
		},
	},
	{
		Name: "code-unchecked", About: "the loader does not look whether a program was loaded", Case: "fail_second",
		// The error blames the next program, which was verified in vain.
		Want: Want{Failure: "replay: expected \"outside\" in the error*", Also: []field.Field{field.Load("errno"), field.Load("log")}}, onLoader: func(p *Program) {
			if i := resultOf(p, programNamed("outside")); i >= 0 {
				code := insn.Insns(p.Insns)
				replace(code, i, opStoreImm, rCtx, 0, code.Off(i), 0)
			}
		},
	},
	{
		Name: "code-not-closed", About: "the loader leaves a map open after a failure", Case: "fail_second",
		Want: failing(fds), onLoader: func(p *Program) {
			if i := resultOf(p, mapNamed("")); i >= 0 {
				code := insn.Insns(p.Insns)
				replace(code, i, opStoreImm, rCtx, 0, code.Off(i), 0)
			}
		},
	},
}
