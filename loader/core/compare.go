package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/btf"
)

// Limits of nesting, as in libbpf. The kernel allows 2 levels (see diverge.go).
const (
	maxChain = 32 // pointers and arrays in a row
	maxLevel = 32 // function prototypes in parameters, structs in structs
)

func tooDeep(id btf.TypeID) error {
	return fmt.Errorf("type id %d is nested too deeply: %w", id, ErrTooComplex)
}

// fieldsCompatible says whether a member of the target can stand for a local
// one: any struct or union for any other, any integer for any other, any pointer
// for any other, enums and forward declarations by name.
func (c *comparer) fieldsCompatible(local, target btf.TypeID) (bool, error) {
	for {
		l, t, err := c.resolve(local, target)
		if err != nil {
			return false, err
		}
		if isComposite(l.Kind) && isComposite(t.Kind) {
			return true, nil
		}
		if !sameKind(l.Kind, t.Kind) {
			return false, nil
		}
		switch l.Kind {
		case btf.KindPtr, btf.KindFloat:
			return true, nil
		case btf.KindFwd, btf.KindEnum, btf.KindEnum64:
			return l.Name == "" || t.Name == "" || sameName(l.Name, t.Name), nil
		case btf.KindInt:
			return plainInts(l, t), nil
		case btf.KindArray:
			local, target = l.Array.Elem, t.Array.Elem
		default:
			return false, nil
		}
	}
}

// plainInts refuses the integers with which BTF described bitfields before it
// had bitfields.
func plainInts(l, t *btf.Type) bool { return l.Int.Offset == 0 && t.Int.Offset == 0 }

// typesCompatible says whether two root types, whose names are the same, count
// as the same type. Structs, unions and enums do without a look inside.
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
			return plainInts(l, t), nil
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

// typesMatch says whether the target's type has all that the local one has:
// members by name and type, enumerators by name, integers of the same size and
// sign, prototypes with the same parameters. What is behind a pointer only has
// to be of the same kind and name.
func (c *comparer) typesMatch(local, target btf.TypeID, behindPtr bool, level int) (bool, error) {
	if level <= 0 {
		return false, tooDeep(local)
	}
	for range maxChain {
		l, t, err := c.resolve(local, target)
		if err != nil {
			return false, err
		}
		// The names of typedefs do not count, except for that of the root, which
		// the search for candidates has compared.
		if !sameName(l.Name, t.Name) {
			return false, nil
		}
		switch l.Kind {
		case btf.KindFwd:
			return fwdMatches(l, t, behindPtr), nil
		case btf.KindEnum, btf.KindEnum64:
			return c.enumsMatch(l, t)
		case btf.KindStruct, btf.KindUnion:
			if behindPtr {
				return l.Kind == t.Kind || t.Kind == btf.KindFwd && (l.Kind == btf.KindUnion) == t.Flag, nil
			}
			if l.Kind != t.Kind {
				return false, nil
			}
			return c.membersMatch(l, t, level)
		}
		if l.Kind != t.Kind {
			return false, nil
		}
		switch l.Kind {
		case btf.KindVoid:
			return true, nil
		case btf.KindInt:
			return l.Size == t.Size && l.Int.Signed == t.Int.Signed, nil
		case btf.KindPtr:
			behindPtr = true
			local, target = l.Ref, t.Ref
		case btf.KindArray:
			if l.Array.Len != t.Array.Len {
				return false, nil
			}
			local, target = l.Array.Elem, t.Array.Elem
		case btf.KindFuncProto:
			if ok, err := c.paramsMatch(l, t, behindPtr, level); !ok || err != nil {
				return false, err
			}
			local, target = l.Ref, t.Ref
		default:
			return false, nil
		}
	}
	return false, tooDeep(local)
}

// fwdMatches: the flag of a forward declaration tells a union from a struct.
// Behind a pointer the full type will do as well.
func fwdMatches(l, t *btf.Type, behindPtr bool) bool {
	if l.Kind == t.Kind {
		return l.Flag == t.Flag
	}
	if l.Flag {
		return behindPtr && t.Kind == btf.KindUnion
	}
	return behindPtr && t.Kind == btf.KindStruct
}

func (c *comparer) enumsMatch(l, t *btf.Type) (bool, error) {
	if !isEnum(t.Kind) || l.Size != t.Size || len(l.Values) > len(t.Values) {
		return false, nil
	}
	for i := range l.Values {
		found := false
		for j := range t.Values {
			if err := c.step(); err != nil {
				return false, err
			}
			if found = sameName(l.Values[i].Name, t.Values[j].Name); found {
				break
			}
		}
		if !found {
			return false, nil
		}
	}
	return true, nil
}

func (c *comparer) membersMatch(l, t *btf.Type, level int) (bool, error) {
	if len(l.Members) > len(t.Members) {
		return false, nil
	}
	for i := range l.Members {
		found := false
		for j := range t.Members {
			if err := c.step(); err != nil {
				return false, err
			}
			if !sameName(l.Members[i].Name, t.Members[j].Name) {
				continue
			}
			ok, err := c.typesMatch(l.Members[i].Type, t.Members[j].Type, false, level-1)
			if err != nil {
				return false, err
			}
			if found = ok; found {
				break
			}
		}
		if !found {
			return false, nil
		}
	}
	return true, nil
}

func (c *comparer) paramsMatch(l, t *btf.Type, behindPtr bool, level int) (bool, error) {
	if len(l.Params) != len(t.Params) {
		return false, nil
	}
	for i := range l.Params {
		ok, err := c.typesMatch(l.Params[i].Type, t.Params[i].Type, behindPtr, level-1)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
