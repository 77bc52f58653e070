package core

import (
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// Resolver resolves the records of one object for one target. It remembers the
// candidates of each local type. It is not safe for concurrent use.
type Resolver struct {
	local  *types
	target *Target

	candidates map[btf.TypeID][]candidate // by local type
	decoded    map[*index]*types
}

// New returns a Resolver for the programs of an object. local is the object's
// BTF as the compiler wrote it.
func New(local *btf.Spec, target *Target) *Resolver {
	return &Resolver{
		local: newTypes(local), target: target,
		candidates: make(map[btf.TypeID][]candidate),
		decoded:    make(map[*index]*types),
	}
}

// Apply resolves the records and patches the instructions that they name. An
// instruction for which the target has no answer is poisoned, which is not an
// error: see [Poison]. Errors are of type [*Error] and name the record; after
// one the instructions are of no use.
func (r *Resolver) Apply(insns insn.Insns, records []Record) error {
	for _, rec := range records {
		if err := r.apply(insns, rec); err != nil {
			return r.fail(rec, err)
		}
	}
	return nil
}

func (r *Resolver) fail(rec Record, err error) error {
	return &Error{Record: rec, Insn: int(rec.InsnOff / insn.Size), Text: rec.String(r.local.Spec), Err: err}
}

func (r *Resolver) apply(insns insn.Insns, rec Record) error {
	if rec.InsnOff%insn.Size != 0 || int64(rec.InsnOff/insn.Size) >= int64(insns.Len()) {
		return malformed("no instruction at byte %d of %d", rec.InsnOff, len(insns))
	}
	fix, err := r.resolve(rec)
	if err != nil {
		return err
	}
	return fix.Patch(insns, int(rec.InsnOff/insn.Size))
}

// Resolve computes what belongs in the instruction of a record. Errors are of
// type [*Error].
func (r *Resolver) Resolve(rec Record) (Fix, error) {
	fix, err := r.resolve(rec)
	if err != nil {
		return Fix{}, r.fail(rec, err)
	}
	return fix, nil
}

func (r *Resolver) resolve(rec Record) (Fix, error) {
	local, err := parseSpec(r.local, rec)
	if err != nil {
		return Fix{}, err
	}
	if rec.Kind == TypeIDLocal {
		return Fix{Old: uint64(rec.TypeID), New: uint64(rec.TypeID)}, nil
	}
	cands, err := r.candidatesFor(rec.TypeID)
	if err != nil {
		return Fix{}, err
	}
	fix, matched, err := r.pick(local, cands)
	if err != nil {
		return Fix{}, err
	}
	if len(matched) == 0 {
		return newFix(local, nil)
	}
	// Those that do not have one member are not what the program means by this
	// type: they stay out for the records to come.
	r.candidates[rec.TypeID] = matched
	return fix, nil
}

func (r *Resolver) candidatesFor(id btf.TypeID) ([]candidate, error) {
	if cands, ok := r.candidates[id]; ok {
		return cands, nil
	}
	name, kind := r.local.TypeName(id), r.local.KindOf(id)
	if name == "" {
		return nil, unsupported("an anonymous %v cannot be looked up", kind)
	}
	cands, err := r.target.candidates(EssentialName(name), kind)
	if err != nil {
		return nil, fmt.Errorf("search %s in the kernel's modules: %w", describe(kind, name), err)
	}
	r.candidates[id] = cands
	return cands, nil
}

// pick computes the fix from the candidates that match, which must agree.
func (r *Resolver) pick(local *spec, cands []candidate) (Fix, []candidate, error) {
	var fix Fix
	var first *spec
	var matched []candidate
	steps := maxSteps
	for _, cand := range cands {
		c := comparer{local: r.local, target: r.typesOf(cand.in), steps: steps}
		s, err := c.match(local, cand.id)
		if err != nil {
			return fix, nil, fmt.Errorf("compare with %v: %w", cand, err)
		}
		steps = c.steps
		if s == nil {
			continue
		}
		f, err := newFix(local, s)
		if err != nil {
			return fix, nil, fmt.Errorf("compare with %v: %w", cand, err)
		}
		if first == nil {
			fix, first = f, s
		} else if s.bits != first.bits || f.Poison != fix.Poison || f.New != fix.New {
			return fix, nil, fmt.Errorf("%w: %v gives %v, %v gives %v", ErrAmbiguous, matched[0], fix.outcome(first), cand, f.outcome(s))
		}
		matched = append(matched, cand)
	}
	return fix, matched, nil
}

func (r *Resolver) typesOf(x *index) *types {
	ts, ok := r.decoded[x]
	if !ok {
		ts = newTypes(x.spec)
		r.decoded[x] = ts
	}
	return ts
}

// String is the place and name of a candidate: "vmlinux's struct task_struct [127]".
func (c candidate) String() string {
	return fmt.Sprintf("%s's %s [%d]", c.in.name, describe(c.in.spec.KindOf(c.id), c.in.spec.TypeName(c.id)), c.id)
}

// newFix compares what the record is worth locally and in the target.
func newFix(local, target *spec) (Fix, error) {
	from, err := valueOf(local.kind, local)
	if err != nil {
		return Fix{}, err
	}
	to, err := valueOf(local.kind, target)
	if errors.Is(err, errPoison) {
		return Fix{Old: from.val, Poison: true}, nil
	}
	if err != nil {
		return Fix{}, err
	}
	fix := Fix{Old: from.val, New: to.val, Validate: from.validate, OldSize: from.size, NewSize: to.size}
	if from.size != to.size {
		fix.Resizable, err = resizable(local.types, from.typ, target, to.typ)
	}
	return fix, err
}

// resizable says whether a load or store may take another width: of pointers,
// and of integers that need no sign extension.
func resizable(local *types, from btf.TypeID, target *spec, to btf.TypeID) (bool, error) {
	if target == nil {
		return false, nil
	}
	a, err := local.at(from)
	if err != nil {
		return false, err
	}
	b, err := target.types.at(to)
	if err != nil {
		return false, err
	}
	if a.Kind == btf.KindPtr && b.Kind == btf.KindPtr {
		return true, nil
	}
	return isUnsigned(a) && isUnsigned(b), nil
}

// isUnsigned takes a signed char or a signed bool for unsigned: the reference
// compares the whole encoding with "signed".
func isUnsigned(t *btf.Type) bool {
	return t.Kind == btf.KindInt && (!t.Int.Signed || t.Int.Char || t.Int.Bool)
}
