package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// Ends of bpf_prog_info's fields that are newer than the oldest supported kernel. 5.16 to 5.19 have
// padding in place of AttachBTFObjID, so AttachBTFID's end decides whether it is present.
const (
	endVerifiedInsns = 220
	endAttachBTFID   = 228
)

var le = binary.LittleEndian

// rawProgram is a program as the kernel returns it.
type rawProgram struct {
	name   string
	fd     int
	info   *bpfsys.ProgInfo
	arrays *bpfsys.ProgArrays
}

func readProgram(h Handle) (*rawProgram, error) {
	info, arrays, err := bpfsys.GetProgInfo(h.FD)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", h.Name, err)
	}
	return &rawProgram{name: h.Name, fd: h.FD, info: info, arrays: arrays}, nil
}

func (c *capturer) program(raw *rawProgram) (*Program, error) {
	info := raw.info
	p := &Program{
		Name:       raw.name,
		KernelName: bpfsys.CString(info.Name[:]),
		Type:       info.Type,
		Tag:        hex.EncodeToString(info.Tag[:]),
		GPL:        info.GPLCompatible&1 != 0,
		UID:        info.CreatedByUID,
		IfIndex:    info.IfIndex,
		NetnsDev:   info.NetnsDev,
		NetnsIno:   info.NetnsIno,
		JitedLens:  raw.arrays.FuncLens,
	}
	if raw.arrays.KernelLen >= endVerifiedInsns {
		p.VerifiedInsns = &info.VerifiedInsns
	}
	if raw.arrays.KernelLen >= endAttachBTFID {
		attach := ""
		if info.AttachBTFID != 0 {
			var err error
			if attach, err = c.kernel.typeName(info.AttachBTFObjID, info.AttachBTFID); err != nil {
				return nil, fmt.Errorf("attach target: %w", err)
			}
		}
		p.Attach = &attach
	}
	types, err := c.types(info.BTFID)
	if err != nil {
		return nil, err
	}
	p.BTF = types.hash()
	if types != nil {
		var roots []btf.TypeID
		for rec := range slices.Chunk(raw.arrays.FuncInfo, max(int(info.FuncInfoRecSize), 1)) {
			if len(rec) >= 8 {
				roots = append(roots, btf.TypeID(le.Uint32(rec[4:])))
			}
		}
		p.Types = c.reached(types, roots...)
	}
	if err := c.functions(p, raw, types); err != nil {
		return nil, err
	}
	c.mapRefs(p, raw.arrays.MapIDs)
	return p, nil
}

// functions splits the instructions, their types, lines and tags by function.
func (c *capturer) functions(p *Program, raw *rawProgram, types *types) error {
	if len(raw.arrays.Xlated) == 0 {
		p.Unread = true
	}
	insns := insn.Insns(raw.arrays.Xlated)
	starts, err := c.heads(p, raw, types, insns)
	if err != nil {
		return err
	}
	names := make([]string, len(p.Functions))
	for i := range p.Functions {
		names[i] = p.Functions[i].Name
	}
	n := &normaliser{insns: insns, bounds: starts, names: names, mapOf: c.mapName, arenas: c.arenas, kernel: c.kernel}
	for i := range p.Functions {
		f, end := &p.Functions[i], insns.Len()
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		refs, memory, err := n.function(starts[i], end)
		if err != nil {
			return err
		}
		f.Refs, f.Insns = refs, insns[starts[i]*insn.Size:end*insn.Size]
		// The kernel computes the tag of a single function before the verifier inserts addresses.
		if memory && len(p.Functions) > 1 && f.Tag != "" {
			f.Tag = AddressTag
		}
	}
	p.Hidden = n.hidden
	return c.lines(p, raw, types, starts)
}

// heads fills in the names, types and tags of the program's functions and returns their first
// instructions.
func (c *capturer) heads(p *Program, raw *rawProgram, types *types, insns insn.Insns) (bounds, error) {
	var starts bounds
	if raw.info.NrFuncInfo > 0 && types != nil {
		p.FuncInfo = true
		if err := p.funcInfo(raw, types, &starts); err != nil {
			return nil, err
		}
		for _, s := range starts {
			if s > insns.Len() || (s == insns.Len() && !p.Unread) {
				return nil, fmt.Errorf("func_info points to instruction %d of %d", s, insns.Len())
			}
		}
	} else {
		starts = boundsFromCalls(insns)
		for i := range starts {
			name := p.Name
			if i > 0 {
				name = "subprogram " + strconv.Itoa(i)
			}
			p.Functions = append(p.Functions, Function{Name: name})
		}
	}
	tags := raw.arrays.Tags
	for i, t := range tags {
		if len(tags) == len(p.Functions) {
			p.Functions[i].Tag = hex.EncodeToString(t[:])
		} else {
			p.Tags = append(p.Tags, hex.EncodeToString(t[:]))
		}
	}
	if p.Unread { // without instructions there is nothing to split
		clear(starts)
	}
	return starts, nil
}

// funcInfo reads the bpf_func_info records: instruction, type id of the FUNC.
func (p *Program) funcInfo(raw *rawProgram, types *types, starts *bounds) error {
	size := int(raw.info.FuncInfoRecSize)
	if size < 8 {
		return fmt.Errorf("func_info records have %d bytes, want 8 or more", size)
	}
	seen := make(map[string]int)
	for rec := range slices.Chunk(raw.arrays.FuncInfo, size) {
		if len(rec) < size {
			break
		}
		at, id := int(le.Uint32(rec)), btf.TypeID(le.Uint32(rec[4:]))
		t, err := types.spec.Type(id)
		if err != nil {
			return fmt.Errorf("func_info: %w", err)
		}
		if n := len(*starts); n == 0 && at != 0 || n > 0 && at <= (*starts)[n-1] {
			return fmt.Errorf("func_info: instruction %d is out of order", at)
		}
		*starts = append(*starts, at)
		p.Functions = append(p.Functions, Function{
			Name: UniqueName(seen, t.Name), Linkage: t.Linkage.String(), Proto: types.spec.Render(t.Ref),
		})
	}
	return nil
}

// UniqueName numbers functions with the same name: static functions of several files.
func UniqueName(seen map[string]int, name string) string {
	if seen[name]++; seen[name] > 1 {
		return fmt.Sprintf("%s (%d)", name, seen[name])
	}
	return name
}

// lines reads the bpf_line_info records: instruction, file name and source
// line as offsets in the BTF's strings, line << 10 | column.
func (c *capturer) lines(p *Program, raw *rawProgram, types *types, starts bounds) error {
	if raw.info.NrLineInfo == 0 || types == nil || p.Unread {
		return nil
	}
	size := int(raw.info.LineInfoRecSize)
	if size < 16 {
		return fmt.Errorf("line_info records have %d bytes, want 16 or more", size)
	}
	fn := 0
	for rec := range slices.Chunk(raw.arrays.LineInfo, size) {
		if len(rec) < size {
			break
		}
		at := int(le.Uint32(rec))
		for fn+1 < len(starts) && at >= starts[fn+1] {
			fn++
		}
		if at < starts[fn] {
			return fmt.Errorf("line_info: instruction %d is out of order", at)
		}
		file, text, pos := le.Uint32(rec[4:]), le.Uint32(rec[8:]), le.Uint32(rec[12:])
		f := &p.Functions[fn]
		f.Lines = append(f.Lines, [2]uint32{uint32(at - starts[fn]), c.sourceLine(types, file, text, pos)})
	}
	return nil
}

// sourceKey is a line_info record without its instruction.
type sourceKey struct{ file, text, pos uint32 }

// sourceLine returns the index in State.Strings of a source line.
func (c *capturer) sourceLine(t *types, file, text, pos uint32) uint32 {
	key := sourceKey{file, text, pos}
	if i, ok := t.lines[key]; ok {
		return i
	}
	s := fmt.Sprintf("%s:%d:%d %s", t.spec.Name(file), pos>>10, pos&0x3ff, t.spec.Name(text))
	i, ok := c.strings[s]
	if !ok {
		i = uint32(len(c.state.Strings))
		c.strings[s] = i
		c.state.Strings = append(c.state.Strings, s)
	}
	t.lines[key] = i
	return i
}

// mapRefs separates the maps that instructions refer to from those that the program only holds.
func (c *capturer) mapRefs(p *Program, ids []uint32) {
	var used []string
	// By first use in the whole program, because the functions are in the order of the dump.
	for _, f := range p.Functions {
		for _, r := range f.Refs {
			if (r.Kind == RefMap || r.Kind == RefValue) && !slices.Contains(used, r.To) {
				used = append(used, r.To)
			}
		}
	}
	for _, id := range ids {
		name := c.mapName(id)
		if slices.Contains(used, name) {
			p.Maps = append(p.Maps, name)
		} else {
			p.Bound = append(p.Bound, name)
		}
	}
	slices.Sort(p.Bound)
}

// types is the BTF object of maps and programs.
type types struct {
	spec  *btf.Spec
	entry BTF
	users int
	lines map[sourceKey]uint32
	tags  map[btf.TypeID][]btf.TypeID // declaration tags, by tagged type
	texts map[btf.TypeID]uint32       // index in State.Types
}

// types returns the BTF object with this id, nil if id is 0.
func (c *capturer) types(id uint32) (*types, error) {
	if id == 0 {
		return nil, nil
	}
	if t := c.btfs[id]; t != nil {
		t.users++
		return t, nil
	}
	fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, id)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(fd)
	spec, raw, err := specByFD(fd)
	if err != nil {
		return nil, fmt.Errorf("BTF %d: %w", id, err)
	}
	t := &types{spec: spec, users: 1, lines: make(map[sourceKey]uint32)}
	t.entry = BTF{Hash: typesHash(spec), Size: len(raw), Types: spec.NumTypes()}
	c.btfs[id] = t
	return t, nil
}

func (t *types) hash() string {
	if t == nil {
		return ""
	}
	return t.entry.Hash
}

// names lists the kind and name of each type.
func (t *types) names() []string {
	names := make([]string, t.spec.NumTypes())
	for i := range names {
		id := btf.TypeID(i)
		names[i] = t.spec.KindOf(id).String() + " " + t.spec.TypeName(id)
	}
	return names
}

// contentHash is the FNV-1a hash of b: cheap to compute in software.
func contentHash(b []byte) string {
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf("%016x", h.Sum64())
}

// TrimZeros removes trailing zeros.
func TrimZeros(b []byte) []byte { return bytes.TrimRight(b, "\x00") }
