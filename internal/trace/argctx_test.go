package trace

import (
	"encoding/binary"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// emptyTypes returns BTF without types.
func emptyTypes(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := btf.Parse(btf.Encode("\x00", nil))
	assert.NilError(t, err)
	return spec
}

// funcInfo returns a record for each function, two instructions apart.
func funcInfo(functions ...btf.TypeID) []byte {
	var out []byte
	for i, f := range functions {
		out = binary.LittleEndian.AppendUint32(out, uint32(2*i))
		out = binary.LittleEndian.AppendUint32(out, uint32(f))
	}
	return out
}

// Functions get the context type of the program that calls them, separately for each program, and
// nothing else changes.
func TestArgCtx(t *testing.T) {
	const kprobe, xdp, syscall = 2, 6, 31
	types := emptyTypes(t)
	number := types.AppendInt("int", 4, true)
	void := types.AppendPtr(0)
	regs := types.AppendPtr(types.AppendStruct("pt_regs"))
	packet := types.AppendPtr(types.AppendStruct("xdp_md"))
	param := func(id btf.TypeID) btf.Param { return btf.Param{Type: id} }

	main := types.AppendFunc("main", btf.Global, number, nil)
	plain := types.AppendFunc("plain", btf.Global, number, []btf.Param{param(void)})
	anything := types.AppendFunc("anything", btf.Global, number, []btf.Param{param(number), param(void)})
	types.AppendDeclTag(argCtxTag, anything, 1)
	probed := types.AppendFunc("probed", btf.Global, number, []btf.Param{param(regs)})
	types.AppendDeclTag(argCtxTag, probed, 0)
	received := types.AppendFunc("received", btf.Global, number, []btf.Param{param(packet)})
	types.AppendDeclTag(argCtxTag, received, 0)
	private := types.AppendFunc("private", btf.Static, number, []btf.Param{param(void)})
	types.AppendDeclTag(argCtxTag, private, 0)
	beyond := types.AppendFunc("beyond", btf.Global, number, []btf.Param{param(void)})
	types.AppendDeclTag(argCtxTag, beyond, 7)

	before := types.NumTypes()
	tags := contextTags(types)
	all := funcInfo(main, plain, anything, probed, received, private, beyond)
	for _, tt := range []struct {
		name     string
		progType uapi.ProgType
		protos   map[int]string // by record
	}{
		{"kprobe", kprobe, map[int]string{2: "int (int, struct bpf_user_pt_regs_t *)", 3: "int (struct bpf_user_pt_regs_t *)"}},
		{"xdp", xdp, map[int]string{2: "int (int, struct xdp_md *)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &planner{types: types}
			edits := p.describe(&LoadProgram{Type: tt.progType, FuncInfo: all, FuncInfoRecSize: 8}, tags)
			assert.Equal(t, len(edits), len(tt.protos))
			info := slices.Clone(all)
			for _, e := range edits {
				binary.LittleEndian.PutUint32(info[8*e.Record+4:], uint32(e.Type))
			}
			reread, err := btf.Parse(p.extended.Raw())
			assert.NilError(t, err, "what the kernel is given")
			for i := range len(all) / 8 {
				was := btf.TypeID(binary.LittleEndian.Uint32(all[8*i+4:]))
				is := btf.TypeID(binary.LittleEndian.Uint32(info[8*i+4:]))
				fn, err := reread.Type(is)
				assert.NilError(t, err)
				assert.Equal(t, fn.Name, types.TypeName(was))
				want, changed := tt.protos[i]
				assert.Equal(t, is != was, changed, fn.Name)
				if changed {
					assert.Equal(t, reread.Render(fn.Ref), want)
					assert.Equal(t, fn.Linkage, btf.Global)
				}
			}
		})
	}
	assert.Equal(t, types.NumTypes(), before)

	// A program type whose context has no name, and a program without such functions.
	p := &planner{t: &Trace{}, types: types}
	p.t.Commands = []Command{
		&LoadProgram{Type: syscall, FuncInfo: all, FuncInfoRecSize: 8},
		&LoadProgram{Type: xdp, FuncInfo: funcInfo(main, plain), FuncInfoRecSize: 8},
	}
	p.askContext()
	assert.Equal(t, len(p.first), 0, "nothing to ask")
	p.t.Commands = append(p.t.Commands, &LoadProgram{Type: xdp, FuncInfo: all, FuncInfoRecSize: 8})
	p.askContext()
	assert.Equal(t, len(p.first), 1)
	ask := p.first[0].(*AskContext)
	assert.Equal(t, len(ask.Edits), 1)
	assert.Assert(t, ask.Edits[0].Program == p.t.Commands[2])
}

// A type that programs commonly use for their context is replaced by the kernel's.
func TestIsContext(t *testing.T) {
	const kprobe, perfEvent, rawTracepoint, xdp = 2, 7, 17, 6
	types := emptyTypes(t)
	void := types.AppendPtr(0)
	regs := types.AppendPtr(types.AppendStruct("pt_regs"))
	other := types.AppendPtr(types.AppendStruct("other"))
	u64 := types.AppendPtr(types.AppendInt("u64", 8, false))
	u32 := types.AppendPtr(types.AppendInt("u32", 4, false))
	number := types.AppendInt("int", 4, true)
	for _, tt := range []struct {
		param    btf.TypeID
		progType uapi.ProgType
		want     bool
	}{
		{void, xdp, true}, {void, kprobe, true}, {regs, kprobe, true}, {regs, xdp, false},
		{regs, perfEvent, true}, {u64, rawTracepoint, true}, {u64, xdp, false}, {u32, rawTracepoint, false},
		{other, kprobe, false}, {number, xdp, false}, {9999, xdp, false},
	} {
		assert.Equal(t, isContext(types, tt.param, tt.progType), tt.want, "%s, program type %d", types.TypeName(tt.param), tt.progType)
	}
}
