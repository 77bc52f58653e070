package target

import (
	"encoding/binary"
	"slices"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// A global function that takes the program's context says so with a tag on its
// parameter, __arg_ctx. Kernels before 6.8 (94e1c70a3452) do not read the tag:
// they know a context by the name of its type. For them, each program that
// reaches such a function gets a description of its own of the function, with
// the type that the kernel expects from a program of its type. So does libbpf.

const argCtxTag = "arg:ctx"

// contextNames are the names of context types, by enum bpf_prog_type. A program of
// another type has a context without a name, for which this does not work.
var contextNames = map[uint32]string{
	1:  "__sk_buff",               // SOCKET_FILTER
	2:  "bpf_user_pt_regs_t",      // KPROBE
	3:  "__sk_buff",               // SCHED_CLS
	4:  "__sk_buff",               // SCHED_ACT
	6:  "xdp_md",                  // XDP
	7:  "bpf_perf_event_data",     // PERF_EVENT
	8:  "__sk_buff",               // CGROUP_SKB
	9:  "bpf_sock",                // CGROUP_SOCK
	10: "__sk_buff",               // LWT_IN
	11: "__sk_buff",               // LWT_OUT
	12: "__sk_buff",               // LWT_XMIT
	13: "bpf_sock_ops",            // SOCK_OPS
	14: "__sk_buff",               // SK_SKB
	15: "bpf_cgroup_dev_ctx",      // CGROUP_DEVICE
	16: "sk_msg_md",               // SK_MSG
	17: "bpf_raw_tracepoint_args", // RAW_TRACEPOINT
	18: "bpf_sock_addr",           // CGROUP_SOCK_ADDR
	19: "__sk_buff",               // LWT_SEG6LOCAL
	21: "sk_reuseport_md",         // SK_REUSEPORT
	22: "__sk_buff",               // FLOW_DISSECTOR
	23: "bpf_sysctl",              // CGROUP_SYSCTL
	24: "bpf_raw_tracepoint_args", // RAW_TRACEPOINT_WRITABLE
	25: "bpf_sockopt",             // CGROUP_SOCKOPT
	30: "bpf_sk_lookup",           // SK_LOOKUP
	32: "bpf_nf_ctx",              // NETFILTER
}

// contextTag is one __arg_ctx of a global function.
type contextTag struct {
	fn    btf.TypeID
	param int
}

// contextTags finds them all, in the order of their ids.
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

// argCtx describes functions anew where this kernel needs it. It sets l.types, and
// l.funcInfo of the programs that it is about.
func (l *Load) argCtx() error {
	if l.trace.Types == nil {
		return nil
	}
	tags := contextTags(l.trace.Types)
	if len(tags) == 0 || l.target.readsArgCtx() {
		return nil
	}
	types := l.trace.Types.Clone()
	for i, c := range l.trace.Commands {
		p, ok := c.(*trace.LoadProgram)
		if !ok || len(p.FuncInfo) == 0 || contextNames[p.Type] == "" {
			continue
		}
		info, err := describe(types, p, tags)
		if err != nil {
			return l.trace.Fail(i, err, "")
		}
		if info != nil {
			l.types, l.funcInfo[i] = types, info
		}
	}
	return nil
}

// describe returns the func_info of a program whose functions with tags have
// descriptions of their own, nil if there is none.
func describe(types *btf.Spec, p *trace.LoadProgram, tags []contextTag) ([]byte, error) {
	var info []byte
	context := btf.TypeID(0)
	for at := 0; at+8 <= len(p.FuncInfo); at += int(p.FuncInfoRecSize) {
		id := btf.TypeID(binary.LittleEndian.Uint32(p.FuncInfo[at+4:]))
		fn, err := types.Type(id)
		if err != nil {
			return nil, err
		}
		proto, err := types.Type(fn.Ref)
		if err != nil {
			return nil, err
		}
		var changed []int
		for _, tag := range tags {
			if tag.fn != id || tag.param < 0 || tag.param >= len(proto.Params) || !isContext(types, proto.Params[tag.param].Type, p.Type) {
				continue
			}
			changed = append(changed, tag.param)
		}
		if changed == nil {
			continue
		}
		if context == 0 {
			context = types.AppendPtr(types.AppendStruct(contextNames[p.Type]))
		}
		params := slices.Clone(proto.Params)
		for _, i := range changed {
			params[i].Type = context
		}
		own := types.AppendFunc(fn.Name, fn.Linkage, proto.Ref, params)
		for _, i := range changed {
			types.AppendDeclTag(argCtxTag, own, int32(i))
		}
		if info == nil {
			info = slices.Clone(p.FuncInfo)
		}
		binary.LittleEndian.PutUint32(info[at+4:], uint32(own))
	}
	return info, nil
}

// isContext says whether a parameter's type has to give way to the one that the
// kernel knows the context by: void *, or what else is commonly written there.
// The kernel's own type may stay, and anything else is a mistake that
// the verifier may have its say about.
func isContext(types *btf.Spec, param btf.TypeID, progType uint32) bool {
	const kprobe, perfEvent, rawTracepoint, rawWritable = 2, 7, 17, 24
	ptr, err := types.Underlying(param)
	if err != nil || ptr.Kind != btf.KindPtr {
		return false
	}
	if (progType == kprobe || progType == perfEvent) && typedefOf(types, ptr.Ref) == contextNames[kprobe] {
		return false
	}
	t, err := types.Underlying(ptr.Ref)
	if err != nil {
		return false
	}
	switch {
	case t.Kind == btf.KindVoid:
		return true
	case t.Kind == btf.KindStruct && progType == kprobe:
		return t.Name == "pt_regs"
	case t.Kind == btf.KindStruct && progType == perfEvent:
		return t.Name == userRegs
	case t.Kind == btf.KindInt && t.Size == 8:
		return progType == rawTracepoint || progType == rawWritable
	}
	return false
}

// typedefOf is the name of the typedef behind qualifiers, empty if there is none.
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

// readsArgCtx says whether the kernel reads the tag.
func (t *Target) readsArgCtx() bool { return t.has(&t.argCtx, probeArgCtx) }

// probeArgCtx offers a kprobe program whose global function calls a helper that
// wants a context, bpf_get_func_ip (173, 5.15), with its parameter void *a that
// has the tag.
func probeArgCtx() bool {
	const names = "\x00a\x00" + argCtxTag + "\x00"
	info := func(k btf.Kind, vlen uint32) uint32 { return uint32(k)<<24 | vlen }
	types := []uint32{
		1, info(btf.KindInt, 0), 4, 32, // [1] int
		0, info(btf.KindPtr, 0), 0, // [2] void *
		0, info(btf.KindFuncProto, 1), 1, 1, 2, // [3] int (void *a)
		1, info(btf.KindFunc, 1), 3, // [4] the program
		1, info(btf.KindFunc, 1), 3, // [5] its global function
		3, info(btf.KindDeclTag, 0), 5, 0, // [6] the tag
	}
	fd, err := loadTypes(names, types)
	if err != nil {
		return false
	}
	defer bpfsys.Close(fd)
	insns := []byte{
		0x85, 0x10, 0, 0, 1, 0, 0, 0, // call the function
		0x95, 0, 0, 0, 0, 0, 0, 0,
		0x85, 0, 0, 0, 173, 0, 0, 0,
		0x95, 0, 0, 0, 0, 0, 0, 0,
	}
	funcInfo := []byte{0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0}
	const kprobe = 2
	a := bpfsys.NewAttr(bpfsys.ProgLoadSize(bpfsys.ProgLoadNeeds{FuncInfo: true}))
	bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{Type: kprobe, InsnCount: uint32(len(insns) / 8), FuncInfoRecSize: 8, FuncInfoSize: len(funcInfo)})
	a.Ptr(bpfsys.ProgLoadInsns, insns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.U32(bpfsys.ProgLoadBTF, uint32(fd))
	a.Ptr(bpfsys.ProgLoadFuncInfo, funcInfo)
	prog, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return false
	}
	bpfsys.Close(prog)
	return true
}
