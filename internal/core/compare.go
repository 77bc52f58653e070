package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// Limits of nesting, as in libbpf.
const (
	maxChain = 32 // pointers and arrays in a row
	maxLevel = 32 // function prototypes in parameters
)

func tooDeep(id btf.TypeID) error {
	return fmt.Errorf("type id %d is nested too deeply: %w", id, ErrTooComplex)
}

// typesCompatible reports whether two root types of the same name count as the same type. It does
// not look into structs, unions and enums.
func (c *comparer) typesCompatible(local, target btf.TypeID, level int) (bool, error) {
	if !sameKind(c.local.KindOf(local), c.target.KindOf(target)) {
		return false, nil
	}
	for range maxChain {
		l, t, err := c.resolve(local, target)
		if err != nil {
			return false, err
		}
		if !sameKind(l.Kind, t.Kind) {
			return false, nil
		}
		switch l.Kind {
		case btf.KindVoid, btf.KindStruct, btf.KindUnion, btf.KindEnum, btf.KindEnum64, btf.KindFwd:
			return true, nil
		case btf.KindInt:
			return l.Int.Offset == 0 && t.Int.Offset == 0, nil // old BTF described bitfields by an offset
		case btf.KindPtr:
			local, target = l.Ref, t.Ref
		case btf.KindArray:
			local, target = l.Array.Elem, t.Array.Elem
		case btf.KindFuncProto:
			if ok, err := c.paramsCompatible(l, t, level); !ok || err != nil {
				return false, err
			}
			local, target = l.Ref, t.Ref
		default:
			return false, nil
		}
	}
	return false, tooDeep(local)
}

func (c *comparer) paramsCompatible(l, t *btf.Type, level int) (bool, error) {
	if len(l.Params) != len(t.Params) {
		return false, nil
	}
	for i := range l.Params {
		if level <= 0 {
			return false, tooDeep(l.ID)
		}
		lp, err := c.local.SkipModifiers(l.Params[i].Type)
		if err != nil {
			return false, err
		}
		tp, err := c.target.SkipModifiers(t.Params[i].Type)
		if err != nil {
			return false, err
		}
		if ok, err := c.typesCompatible(lp, tp, level-1); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
