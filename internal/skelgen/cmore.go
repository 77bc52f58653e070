package skelgen

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// asksTypes reports whether the value of a setting depends on the kernel's types.
func asksTypes(s *artefact.Setting) bool {
	return s.Kind == "member" || s.Kind == "value_size" || s.Kind == "mismatch"
}

// needsTypes reports whether the skeleton needs types.h.
func (h *header) needsTypes() bool {
	return slices.ContainsFunc(h.a.Settings, func(s artefact.Setting) bool { return asksTypes(&s) }) ||
		slices.ContainsFunc(h.a.Programs, func(p artefact.Program) bool { return p.Replaces != "" }) ||
		slices.ContainsFunc(h.a.Maps, func(m artefact.Map) bool { return m.Arena || m.Pinned }) || h.core() != ""
}

// core returns the need for CO-RE without func_info, or "".
func (h *header) core() string {
	for _, n := range h.a.Needs {
		if n.Capability == artefact.NeedNoFuncInfo {
			return n.Why
		}
	}
	return ""
}

// arenas returns the maps that are arenas.
func (h *header) arenas() (out []int) {
	for i := range h.a.Maps {
		if h.a.Maps[i].Arena {
			out = append(out, i)
		}
	}
	return out
}

var btfKinds = map[string]int{"int": 1, "ptr": 2, "array": 3, "struct": 4, "union": 5, "enum": 6, "float": 16, "enum64": 19}

// more writes the tables for types.h.
func (h *header) more() {
	n := h.name
	settings, replaces := 0, 0
	var rows strings.Builder
	for i := range h.a.Settings {
		s := &h.a.Settings[i]
		row := func(kind, typ, which, members string) {
			fmt.Fprintf(&rows, "\t{'%s', %d, %s, %s, %s},\n", kind, s.Offset, typ, which, members)
			settings++
		}
		switch s.Kind {
		case "member":
			row("m", quoted(s.StructOps.Type), quoted(s.Member), "NULL")
		case "value_size":
			members := fmt.Sprintf("%s__members%d", n, i)
			h.p("static const struct bpfreplay_member %s[] = {", members)
			for _, m := range s.StructOps.Members {
				h.p("\t{%s, %d, %d, %v},", quoted(m.Name), btfKinds[m.Kind], m.Size, m.Set)
			}
			h.p("\t{NULL, 0, 0, false}\n};")
			row("s", quoted(s.StructOps.Type), "NULL", members)
		case "mismatch":
			row("p", quoted(s.Function), quoted(shape(h.spec, btf.TypeID(s.Prototype), 0)), "NULL")
		}
	}
	h.p("static const struct bpfreplay_setting %s__settings[] = {\n%s\t{0, 0, NULL, NULL, NULL}\n};", n, rows.String())
	h.p("static const struct bpfreplay_replaces %s__replaces[] = {", n)
	for i := range h.a.Programs {
		if p := &h.a.Programs[i]; p.Replaces != "" {
			h.p("\t{%d, %d, %s},", i, p.Attr.Off, quoted(p.Replaces))
			replaces++
		}
	}
	h.p("\t{0, 0, NULL}\n};")
	for _, i := range h.arenas() {
		h.p("static const __u32 %s__globals%d[] = {", n, i)
		for _, at := range h.a.Maps[i].Globals {
			h.p("\t%d,", at)
		}
		h.p("\t0\n};")
	}
	h.p("static const struct bpfreplay_arena %s__arenas[] = {", n)
	for _, i := range h.arenas() {
		m := &h.a.Maps[i]
		h.p("\t{%d, %d, %d, %d, %d, offsetof(struct %s, %s), %dULL, %s__globals%d},", i, m.Attr.Size, m.MaxEntries, m.Data.Off, m.Data.Size,
			n, h.maps[i], m.Extra, n, i)
	}
	h.p("\t{0, 0, 0, 0, 0, 0, 0, NULL}\n};")
	pins := h.pins()
	core, path := "NULL", "0"
	if why := h.core(); why != "" {
		core = quoted(why)
	}
	if pins > 0 {
		path = fmt.Sprintf("offsetof(struct %s, pin_path)", n)
	}
	h.p("static const struct bpfreplay_more %s__more = {\n\t%s__settings, %s__replaces, %s__arenas, %s__pins, %d, %d, %d, %d, %s, %s\n};", n, n, n, n, n,
		settings, replaces, len(h.arenas()), pins, path, core)
}

// pins writes the table of maps that are pinned by name, and returns its length.
func (h *header) pins() int {
	rows, n := "", 0
	for i, m := range h.a.Maps {
		if m.Pinned {
			// MAP_CREATE's attribute begins with the type.
			kind := binary.LittleEndian.Uint32(m.Attr.Of(h.a.Blob))
			rows += fmt.Sprintf("\t{%d, %d, %d, %d, %d, %d, %dULL},\n", i, kind, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, m.Extra)
			n++
		}
	}
	h.p("static const struct bpfreplay_pin %s__pins[] = {\n%s\t{0, 0, 0, 0, 0, 0, 0}\n};", h.name, rows)
	return n
}

// shape encodes what package core's typesCompatible compares about a type, for bpfreplay_compatible
// in types.h. x is compatible with nothing.
func shape(spec *btf.Spec, id btf.TypeID, depth int) string {
	t, err := spec.Underlying(id)
	if err != nil || depth > maxNesting {
		return "x"
	}
	switch t.Kind {
	case btf.KindVoid:
		return "v"
	case btf.KindInt:
		if t.Int.Offset == 0 {
			return "i"
		}
	case btf.KindStruct:
		return "s"
	case btf.KindUnion:
		return "u"
	case btf.KindEnum, btf.KindEnum64:
		return "e"
	case btf.KindFwd:
		return "f"
	case btf.KindPtr:
		return "p" + shape(spec, t.Ref, depth+1)
	case btf.KindArray:
		return "a" + shape(spec, t.Array.Elem, depth+1)
	case btf.KindFuncProto:
		if len(t.Params) > 25 {
			break
		}
		s := "F" + string(rune('A'+len(t.Params)))
		for _, p := range t.Params {
			s += shape(spec, p.Type, depth+1)
		}
		return s + shape(spec, t.Ref, depth+1)
	}
	return "x"
}
