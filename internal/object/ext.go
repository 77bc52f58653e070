package object

import (
	"fmt"
	"sort"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// extInfo is section .BTF.ext: per section of code, records about instructions.
type extInfo struct {
	funcs, lines, core extTable
}

// extTable is one of the three kinds of records.
type extTable struct {
	recSize  uint32
	sections []extSection
}

// extSection holds the records of one section of code; each begins with the
// offset of its instruction in bytes from the section's start.
type extSection struct {
	name    uint32 // string offset in .BTF
	records []byte
}

const (
	extMinHeader  = 24 // through line_info_len
	extCoreHeader = 32 // with core_relo_off, core_relo_len

	minFuncInfo = 8
	minLineInfo = 16
	minCoreRelo = 16
)

func parseExt(raw []byte) (*extInfo, error) {
	if len(raw) < extMinHeader {
		return nil, malformed("%d bytes are too few for a header", len(raw))
	}
	if m := le.Uint16(raw); m != 0xeb9f {
		return nil, malformed("magic is %#x", m)
	}
	if raw[2] != 1 || raw[3] != 0 {
		return nil, unsupported("version %d, flags %#x", raw[2], raw[3])
	}
	hdr := le.Uint32(raw[4:])
	if hdr < extMinHeader || uint64(hdr) >= uint64(len(raw)) {
		return nil, malformed("header of %d bytes in %d", hdr, len(raw))
	}
	ext, body := &extInfo{}, raw[hdr:]
	tables := []struct {
		to   *extTable
		at   int
		min  uint32
		what string
	}{
		{&ext.funcs, 8, minFuncInfo, "func_info"},
		{&ext.lines, 16, minLineInfo, "line_info"},
		{&ext.core, 24, minCoreRelo, "core_relo"},
	}
	if hdr < extCoreHeader {
		tables = tables[:2]
	}
	for _, t := range tables {
		var err error
		if *t.to, err = parseExtTable(body, le.Uint32(raw[t.at:]), le.Uint32(raw[t.at+4:]), t.min); err != nil {
			return nil, fmt.Errorf("%s: %w", t.what, err)
		}
	}
	return ext, nil
}

func parseExtTable(body []byte, off, size, minRec uint32) (extTable, error) {
	if size == 0 {
		return extTable{}, nil
	}
	if off%4 != 0 || uint64(off)+uint64(size) > uint64(len(body)) {
		return extTable{}, malformed("records at %d+%d are misaligned or beyond the section", off, size)
	}
	b := body[off:][:size]
	if len(b) < 8 {
		return extTable{}, malformed("no records")
	}
	t := extTable{recSize: le.Uint32(b)}
	if t.recSize < minRec || t.recSize%4 != 0 {
		return extTable{}, malformed("records of %d bytes", t.recSize)
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 8 {
			return extTable{}, malformed("section header is cut off")
		}
		n := uint64(le.Uint32(b[4:])) * uint64(t.recSize)
		if n == 0 || n > uint64(len(b)-8) {
			return extTable{}, malformed("section with %d records is empty or cut off", le.Uint32(b[4:]))
		}
		t.sections = append(t.sections, extSection{name: le.Uint32(b), records: b[8:][:n]})
		b = b[8+n:]
	}
	return t, nil
}

// splitExt distributes the records to the functions, with offsets in instructions from the
// function's start.
func (o *opener) splitExt() error {
	if o.ext == nil {
		o.typeFunctions()
		return nil
	}
	funcs, lines := o.recordsBySection("func info", &o.ext.funcs), o.recordsBySection("line info", &o.ext.lines)
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		var err error
		if f.FuncInfo, err = o.functionRecords(i, &o.ext.funcs, funcs); err != nil {
			return in(f.Section, f.Name, err)
		}
		if f.LineInfo, err = o.functionRecords(i, &o.ext.lines, lines); err != nil {
			return in(f.Section, f.Name, err)
		}
		f.FuncInfoRecSize, f.LineInfoRecSize = o.ext.funcs.recSize, o.ext.lines.recSize
		if len(f.FuncInfo) > 0 && le.Uint32(f.FuncInfo) == 0 {
			f.TypeID = btf.TypeID(le.Uint32(f.FuncInfo[4:]))
		}
	}
	o.typeFunctions()
	for _, s := range o.ext.core.sections {
		name := o.obj.BTF.Name(s.name)
		if name == "" {
			return in(secBTFExt, "", malformed("CO-RE records of a section without a name, or with one that is not in %s (string offset %d)", secBTF, s.name))
		}
		sec := o.elf.byName(name)
		if sec == nil {
			o.unused("CO-RE records", name)
			continue
		}
		if err := o.readCORE(sec.index, s.records); err != nil {
			return in(sec.name, "", err)
		}
	}
	return nil
}

// unused warns of records for a section that does not exist: a tool has removed it, or its name is
// damaged.
func (o *opener) unused(what, section string) {
	o.warn(Warning{
		Section: secBTFExt, Defect: fmt.Sprintf("%s of section %q, which the object does not have", what, section),
		Consequence: "no program gets them",
	})
}

// recordsBySection finds the ELF section of each part of a table. what names the table in warnings.
func (o *opener) recordsBySection(what string, t *extTable) map[int][][]byte {
	by := map[int][][]byte{}
	for _, s := range t.sections {
		name := o.obj.BTF.Name(s.name)
		sec := o.elf.byName(name)
		if name == "" || sec == nil {
			o.unused(what, name)
			continue
		}
		by[sec.index] = append(by[sec.index], s.records)
	}
	return by
}

// functionRecords copies the records of one function, from the first part of the table that is
// about its section.
func (o *opener) functionRecords(fn int, t *extTable, by map[int][][]byte) ([]byte, error) {
	parts := by[o.fnSection[fn]]
	if len(parts) == 0 {
		return nil, nil
	}
	f := &o.obj.Functions[fn]
	start, end := f.Offset, uint64(f.Offset)+uint64(len(f.Insns))
	records, size := parts[0], int(t.recSize)
	from, to := -1, -1
	// The records of a section are sorted as compilers and linkers write them.
	first := size * sort.Search(len(records)/size, func(i int) bool { return le.Uint32(records[i*size:])/8 >= start/8 })
	for at := first; at < len(records); at += size {
		off := le.Uint32(records[at:])
		if off/8 < start/8 {
			continue
		}
		if uint64(off/8) >= end/8 {
			break
		}
		if from < 0 {
			from = at
		}
		to = at + size
	}
	if from < 0 {
		return nil, nil
	}
	out, err := o.take(records[from:to])
	for at := 0; at < len(out); at += size {
		le.PutUint32(out[at:], le.Uint32(out[at:])/8-start/8)
	}
	return out, err
}

// typeFunctions finds the BTF of functions that have no func_info by name.
func (o *opener) typeFunctions() {
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		if o.obj.BTF == nil || f.TypeID != 0 && o.obj.BTF.KindOf(f.TypeID) == btf.KindFunc {
			continue
		}
		f.TypeID, _ = o.obj.BTF.First(f.Name, btf.KindFunc)
	}
}

// readCORE distributes the CO-RE records of one section to its functions. Records outside of any
// function belong to weak functions that a static linker dropped.
func (o *opener) readCORE(section int, records []byte) error {
	rec := int(o.ext.core.recSize)
	for at := 0; at < len(records); at += rec {
		r := records[at:]
		off := le.Uint32(r)
		if off%8 != 0 {
			return malformed("CO-RE record for offset %d, which is in the middle of an instruction", off)
		}
		fn, ok := o.functionAt(section, uint64(off))
		if !ok {
			continue
		}
		f := &o.obj.Functions[fn]
		relo := CORERelocation{
			Insn: int(off-f.Offset) / 8, TypeID: btf.TypeID(le.Uint32(r[4:])),
			AccessStrOff: le.Uint32(r[8:]), Kind: le.Uint32(r[12:]),
		}
		if _, err := o.obj.BTF.Type(relo.TypeID); err != nil && f.Err == nil {
			f.Err = fmt.Errorf("instruction %d: CO-RE record: %w", relo.Insn, err)
		}
		f.CORE = append(f.CORE, relo)
	}
	return nil
}
