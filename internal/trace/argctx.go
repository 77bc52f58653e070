package trace

import (
	"encoding/binary"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// A global function that takes the program's context marks the parameter with a tag, __arg_ctx.
// Kernels before 6.8 (94e1c70a3452) ignore the tag and recognise a context by the name of its type.
// For them, each program that reaches such a function gets its own FUNC in the types, whose
// parameter has the context type of the program's type. libbpf does the same.

// funcInfoSize is the size of struct bpf_func_info in bytes.
const funcInfoSize = 8

const argCtxTag = "arg:ctx"

// contextNames has the names of context types. The contexts of other program types have no name, so
// this does not work for them.
var contextNames = map[uapi.ProgType]string{
	uapi.ProgSocketFilter:          "__sk_buff",
	uapi.ProgKprobe:                "bpf_user_pt_regs_t",
	uapi.ProgSchedCls:              "__sk_buff",
	uapi.ProgSchedAct:              "__sk_buff",
	uapi.ProgXDP:                   "xdp_md",
	uapi.ProgPerfEvent:             "bpf_perf_event_data",
	uapi.ProgCgroupSkb:             "__sk_buff",
	uapi.ProgCgroupSock:            "bpf_sock",
	uapi.ProgLWTIn:                 "__sk_buff",
	uapi.ProgLWTOut:                "__sk_buff",
	uapi.ProgLWTXmit:               "__sk_buff",
	uapi.ProgSockOps:               "bpf_sock_ops",
	uapi.ProgSkSkb:                 "__sk_buff",
	uapi.ProgCgroupDevice:          "bpf_cgroup_dev_ctx",
	uapi.ProgSkMsg:                 "sk_msg_md",
	uapi.ProgRawTracepoint:         "bpf_raw_tracepoint_args",
	uapi.ProgCgroupSockAddr:        "bpf_sock_addr",
	uapi.ProgLWTSeg6local:          "__sk_buff",
	uapi.ProgSkReuseport:           "sk_reuseport_md",
	uapi.ProgFlowDissector:         "__sk_buff",
	uapi.ProgCgroupSysctl:          "bpf_sysctl",
	uapi.ProgRawTracepointWritable: "bpf_raw_tracepoint_args",
	uapi.ProgCgroupSockopt:         "bpf_sockopt",
	uapi.ProgSkLookup:              "bpf_sk_lookup",
	uapi.ProgNetfilter:             "bpf_nf_ctx",
}

// contextTag is one __arg_ctx parameter of a global function.
type contextTag struct {
	fn    btf.TypeID
	param int
}

// contextTags returns all tags, ordered by function id.
func contextTags(types *btf.Spec) []contextTag {
	var out []contextTag
	for id := range types.FindByName(argCtxTag, btf.KindDeclTag) {
		t, err := types.Type(id)
		if err != nil {
			continue
		}
		fn, err := types.Type(t.Ref)
		if err == nil && fn.Kind == btf.KindFunc && fn.Linkage == btf.Global {
			out = append(out, contextTag{t.Ref, int(t.Component)})
		}
	}
	slices.SortFunc(out, func(a, b contextTag) int { return int(a.fn) - int(b.fn) })
	return out
}

// askContext plans an AskContext and its edits.
func (p *planner) askContext() {
	tags := contextTags(p.types)
	if len(tags) == 0 {
		return
	}
	ask := &AskContext{}
	for _, c := range p.t.Commands {
		if c, ok := c.(*LoadProgram); ok && len(c.FuncInfo) > 0 && contextNames[c.Type] != "" {
			ask.Edits = append(ask.Edits, p.describe(c, tags)...)
		}
	}
	if len(ask.Edits) == 0 {
		return
	}
	ask.Types, ask.FuncInfo, ask.Insns = contextProbe()
	ask.BTF, ask.Out = p.newFD("btf of the probe for arg:ctx"), p.newFD("probe for arg:ctx")
	p.first = append(p.first, ask)
}

// describe gives the tagged functions of a program types of their own. It leaves types alone that
// cannot be read: the kernel checks them.
func (p *planner) describe(c *LoadProgram, tags []contextTag) (edits []InfoEdit) {
	types := p.extend()
	context := btf.TypeID(0)
	for record := range len(c.FuncInfo) / int(c.FuncInfoRecSize) {
		id := btf.TypeID(binary.LittleEndian.Uint32(c.FuncInfo[record*int(c.FuncInfoRecSize)+4:]))
		fn, err := types.Type(id)
		if err != nil || fn.Kind != btf.KindFunc {
			continue
		}
		proto, err := types.Type(fn.Ref)
		if err != nil {
			continue
		}
		var changed []int
		for _, tag := range tags {
			if tag.fn == id && tag.param >= 0 && tag.param < len(proto.Params) && isContext(types, proto.Params[tag.param].Type, c.Type) {
				changed = append(changed, tag.param)
			}
		}
		if changed == nil {
			continue
		}
		if context == 0 {
			context = types.AppendPtr(types.AppendStruct(contextNames[c.Type]))
		}
		params := slices.Clone(proto.Params)
		for _, i := range changed {
			params[i].Type = context
		}
		own := types.AppendFunc(fn.Name, fn.Linkage, proto.Ref, params)
		for _, i := range changed {
			types.AppendDeclTag(argCtxTag, own, int32(i))
		}
		edits = append(edits, InfoEdit{Program: c, Record: record, Type: own})
	}
	return edits
}

// userRegs has the names, which depend on the architecture, of the struct behind the typedef
// bpf_user_pt_regs_t. An object does not say for which architecture it was compiled.
var userRegs = []string{"pt_regs", "user_pt_regs", "user_regs_struct"}

// isContext reports whether a parameter's type must be replaced by the kernel's context type: it is
// void *, or a type that programs commonly use instead. The kernel's own type stays. So does any
// other type, which the verifier reports.
func isContext(types *btf.Spec, param btf.TypeID, progType uapi.ProgType) bool {
	ptr, err := types.Underlying(param)
	if err != nil || ptr.Kind != btf.KindPtr {
		return false
	}
	if (progType == uapi.ProgKprobe || progType == uapi.ProgPerfEvent) && typedefOf(types, ptr.Ref) == contextNames[uapi.ProgKprobe] {
		return false
	}
	t, err := types.Underlying(ptr.Ref)
	if err != nil {
		return false
	}
	switch {
	case t.Kind == btf.KindVoid:
		return true
	case t.Kind == btf.KindStruct && progType == uapi.ProgKprobe:
		return t.Name == "pt_regs"
	case t.Kind == btf.KindStruct && progType == uapi.ProgPerfEvent:
		return slices.Contains(userRegs, t.Name)
	case t.Kind == btf.KindInt && t.Size == 8:
		return progType == uapi.ProgRawTracepoint || progType == uapi.ProgRawTracepointWritable
	}
	return false
}

// typedefOf returns the name of the typedef behind qualifiers, empty if there is none.
func typedefOf(types *btf.Spec, id btf.TypeID) string {
	for range types.NumTypes() {
		t, err := types.Type(id)
		if err != nil {
			return ""
		}
		switch t.Kind {
		case btf.KindTypedef:
			return t.Name
		case btf.KindConst, btf.KindVolatile, btf.KindRestrict, btf.KindTypeTag:
			id = t.Ref
		default:
			return ""
		}
	}
	return ""
}

// contextProbe returns a program that only kernels that read the tag accept: a kprobe program whose
// global function passes its tagged parameter void *a to a helper that wants a context,
// bpf_get_func_ip (173, 5.15).
func contextProbe() (types, funcInfo, insns []byte) {
	const names = "\x00a\x00" + argCtxTag + "\x00"
	info := func(k btf.Kind, vlen uint32) uint32 { return uint32(k)<<24 | vlen }
	types = btf.Encode(names, []uint32{
		1, info(btf.KindInt, 0), 4, 32, // [1] int
		0, info(btf.KindPtr, 0), 0, // [2] void *
		0, info(btf.KindFuncProto, 1), 1, 1, 2, // [3] int (void *a)
		1, info(btf.KindFunc, 1), 3, // [4] the program
		1, info(btf.KindFunc, 1), 3, // [5] its global function
		3, info(btf.KindDeclTag, 0), 5, 0, // [6] the tag
	})
	insns = []byte{
		insn.Call, insn.PseudoCall << 4, 0, 0, 1, 0, 0, 0, // call the function
		insn.Exit, 0, 0, 0, 0, 0, 0, 0,
		insn.Call, 0, 0, 0, 173, 0, 0, 0,
		insn.Exit, 0, 0, 0, 0, 0, 0, 0,
	}
	funcInfo = []byte{0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0}
	return types, funcInfo, insns
}
