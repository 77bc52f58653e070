package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// Program is a program and its records, for [Divergences].
type Program struct {
	Insns   insn.Insns
	Records []Record
}

// Divergence is a record that some kernel may answer differently from a direct
// load, so that it should be resolved by a [Resolver] and not handed over.
type Divergence struct {
	Program, Record int // indices
	Reason          string
}

// Divergences finds the records of an object's programs whose resolution in the
// kernel can differ from that in user space, on a kernel from 5.17 on. It looks
// at the object only, so that it may name a record for which the kernel that
// runs gives the same answer in the end.
func Divergences(local *btf.Spec, programs ...Program) []Divergence {
	clashes := kindClashes(local, programs)
	var found []Divergence
	for i, p := range programs {
		for j, rec := range p.Records {
			reason, ok := Diverges(local, rec)
			if !ok {
				reason, ok = arrayAccess(local, p.Insns, rec)
			}
			if !ok && rec.Kind != TypeIDLocal && clashes[EssentialName(local.TypeName(rec.TypeID))] {
				reason, ok = "the kernel's cache of candidates knows names only, and the object means types of two kinds by this one", true
			}
			if ok {
				found = append(found, Divergence{Program: i, Record: j, Reason: reason})
			}
		}
	}
	return found
}

// Diverges is that part of [Divergences] which a record alone tells.
func Diverges(local *btf.Spec, rec Record) (reason string, ok bool) {
	if rec.Kind == TypeIDLocal {
		return "", false
	}
	ts := newTypes(local)
	s, err := parseSpec(ts, rec)
	if err != nil {
		return "", false // an error everywhere
	}
	switch kind := local.KindOf(rec.TypeID); {
	case rec.Kind == TypeMatches && kernelGivesUp(ts, rec.TypeID):
		return fmt.Sprintf("the kernel compares only %d levels of structs and prototypes", kernelLevel), true
	case rec.Kind == TypeMatches:
		return "kernels before 6.0 do not know type_matches", true
	case isEnum(kind):
		return "the kernel looks for candidates of the same width only, enum or enum64", true
	case kind == btf.KindTypedef:
		return "the kernel's cache of candidates knows names only: a typedef may get those of a struct", true
	case rec.Kind == FieldSigned && !s.endsInInt():
		return "kernels before 6.0 call every enum signed, and until 6.15 types other than integers are not told apart from them", true
	}
	return "", false
}

// endsInInt says whether a field is an integer.
func (s *spec) endsInInt() bool {
	t, err := s.fieldType()
	return err == nil && t.Kind == btf.KindInt
}

// fieldType is the type at the end of the path.
func (s *spec) fieldType() (*btf.Type, error) {
	last := s.last()
	if last.name == "" {
		return s.types.resolve(last.typ)
	}
	t, err := s.types.at(last.typ)
	if err != nil {
		return nil, err
	}
	return s.types.resolve(t.Members[last.index].Type)
}

// arrayAccess finds loads and stores whose field is an array: kernels before
// 6.15 compare the sizes of whole arrays to choose their width.
func arrayAccess(local *btf.Spec, insns insn.Insns, rec Record) (string, bool) {
	i := int64(rec.InsnOff / insn.Size)
	if rec.Kind != FieldByteOffset || i >= int64(insns.Len()) {
		return "", false
	}
	switch insns.Op(int(i)) & classMask {
	case classLDX, classST, classSTX:
	default:
		return "", false
	}
	s, err := parseSpec(newTypes(local), rec)
	if err != nil {
		return "", false
	}
	if t, err := s.fieldType(); err != nil || t.Kind != btf.KindArray {
		return "", false
	}
	return "kernels before 6.15 take the size of the whole array for the width of the access", true
}

// kindClashes finds the names that the records use for types of two kinds.
func kindClashes(local *btf.Spec, programs []Program) map[string]bool {
	kinds := make(map[string]btf.Kind)
	clashes := make(map[string]bool)
	for _, p := range programs {
		for _, rec := range p.Records {
			if rec.Kind == TypeIDLocal {
				continue
			}
			name, kind := EssentialName(local.TypeName(rec.TypeID)), local.KindOf(rec.TypeID)
			if have, ok := kinds[name]; ok && have != kind {
				clashes[name] = true
			}
			kinds[name] = kind
		}
	}
	return clashes
}

// kernelLevel is the kernel's limit of nesting in a comparison of types
// (MAX_TYPES_MATCH_DEPTH), where libbpf has 32.
const kernelLevel = 2

// kernelGivesUp says whether the comparison of a type by type_matches may reach
// the kernel's limit. Prototypes in type_exists and its like reach a limit too,
// but they have names only as typedefs, which diverge anyway.
func kernelGivesUp(ts *types, id btf.TypeID) bool { return exceeds(ts, id, false, kernelLevel) }

func exceeds(ts *types, id btf.TypeID, behindPtr bool, level int) bool {
	if level <= 0 {
		return true
	}
	for range maxChain {
		t, err := ts.resolve(id)
		if err != nil {
			return false
		}
		switch t.Kind {
		case btf.KindPtr:
			behindPtr = true
			id = t.Ref
		case btf.KindArray:
			id = t.Array.Elem
		case btf.KindStruct, btf.KindUnion:
			for _, m := range t.Members {
				if !behindPtr && exceeds(ts, m.Type, false, level-1) {
					return true
				}
			}
			return false
		case btf.KindFuncProto:
			for _, p := range t.Params {
				if exceeds(ts, p.Type, behindPtr, level-1) {
					return true
				}
			}
			id = t.Ref
		default:
			return false
		}
	}
	return true
}
