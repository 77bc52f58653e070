package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// maxSteps bounds the types and members that are visited for one record. Valid BTF can describe
// types whose comparison takes exponential time.
const maxSteps = 1 << 24

// types is a BTF blob with a cache of decoded types.
type types struct {
	*btf.Spec
	decoded map[btf.TypeID]*btf.Type
}

func newTypes(s *btf.Spec) *types {
	return &types{Spec: s, decoded: make(map[btf.TypeID]*btf.Type)}
}

func (ts *types) at(id btf.TypeID) (*btf.Type, error) {
	if t, ok := ts.decoded[id]; ok {
		return t, nil
	}
	t, err := ts.Type(id)
	if err != nil {
		return nil, err
	}
	ts.decoded[id] = t
	return t, nil
}

// resolve returns the type behind typedefs, qualifiers and type tags.
func (ts *types) resolve(id btf.TypeID) (*btf.Type, error) {
	id, err := ts.SkipModifiers(id)
	if err != nil {
		return nil, err
	}
	return ts.at(id)
}

func isComposite(k btf.Kind) bool { return k == btf.KindStruct || k == btf.KindUnion }

func isEnum(k btf.Kind) bool { return k == btf.KindEnum || k == btf.KindEnum64 }

// sameKind treats the two widths of enums as one kind: which one the compiler
// emits depends on values that may differ between kernels.
func sameKind(a, b btf.Kind) bool { return a == b || isEnum(a) && isEnum(b) }

// comparer compares a local type with one of the target.
type comparer struct {
	local, target *types
	steps         int // left for this record
}

// Compatible reports whether two types are compatible as libbpf's bpf_core_types_are_compat defines
// it: the same kinds all the way down and the same number of parameters. It does not look into
// structs, unions and enums.
func Compatible(local *btf.Spec, a btf.TypeID, target *btf.Spec, b btf.TypeID) (bool, error) {
	c := comparer{newTypes(local), newTypes(target), maxSteps}
	return c.typesCompatible(a, b, maxLevel)
}

func (c *comparer) step() error {
	if c.steps--; c.steps < 0 {
		return fmt.Errorf("more than %d steps: %w", maxSteps, ErrTooComplex)
	}
	return nil
}

func (c *comparer) resolve(local, target btf.TypeID) (l, t *btf.Type, err error) {
	if err = c.step(); err != nil {
		return nil, nil, err
	}
	if l, err = c.local.resolve(local); err != nil {
		return nil, nil, err
	}
	t, err = c.target.resolve(target)
	return l, t, err
}
