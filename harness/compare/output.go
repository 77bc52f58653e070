package compare

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// ruleLocalTypeID explains ids of local types in instructions, and in what programs put out.
const ruleLocalTypeID = "local-type-id"

// idSize is the size of a type's id, in bytes.
const idSize = 4

// Output explains differences in what programs put out when they ran: what they returned, and what
// they wrote into packets and into values of maps. A difference is explained only if it consists of
// numbers of 32 bits, in either byte order, that are the two ids of one type in the instructions of
// the programs in question. Whatever a program derives from an id, such as a sum or the key of an
// element, is not explained.
type Output struct{ a, b side }

// NewOutput returns the Output of two loads. a and b are the states before the programs ran.
func NewOutput(a, b *state.State, ca, cb Context) *Output {
	return &Output{side{state: a, Context: ca}, side{state: b, Context: cb}}
}

// Returns explains return values of a program, one for each run.
func (o *Output) Returns(of field.Field, a, b []uint32) RuleIDs {
	ids := o.typeIDs(of)
	return explained(slices.EqualFunc(a, b, func(x, y uint32) bool { return x == y || slices.Contains(ids, [2]uint32{x, y}) }))
}

// Data explains two packets that a program wrote to.
func (o *Output) Data(of field.Field, a, b []byte) RuleIDs {
	return explained(onlyTypeIDs(a, b, o.typeIDs(of)))
}

// Contents explains the contents of a map in two states after the programs ran.
func (o *Output) Contents(of field.Field, a, b *state.State) RuleIDs {
	x, y := a.FindMap(of.Name), b.FindMap(of.Name)
	if x == nil || y == nil || x.Contents.NotRead != y.Contents.NotRead {
		return nil
	}
	ids := o.typeIDs(of)
	return explained(slices.EqualFunc(x.Contents.Entries, y.Contents.Entries, func(x, y state.Entry) bool {
		size := max(len(x.Value), len(y.Value)) + idSize - 1 // the zeros at the end are missing
		full := func(value []byte) []byte { return append(bytes.Clone(value), make([]byte, size-len(value))...) }
		return x.Ref == y.Ref && bytes.Equal(x.Key, y.Key) && onlyTypeIDs(full(x.Value), full(y.Value), ids)
	}))
}

// Effect explains a difference between the effects of two loads.
func (o *Output) Effect(d *effects.Difference) RuleIDs {
	ids := o.typeIDs(d.Field)
	same := func(p effects.Pair) bool { return false }
	switch attribute := d.Field.Attribute; {
	case d.Field.Kind == field.KindProgram && strings.HasSuffix(attribute, " returns"):
		same = func(p effects.Pair) bool {
			a, errA := strconv.ParseUint(p.A, 10, 32)
			b, errB := strconv.ParseUint(p.B, 10, 32)
			return errA == nil && errB == nil && slices.Contains(ids, [2]uint32{uint32(a), uint32(b)})
		}
	case d.Field.Kind == field.KindProgram && strings.HasSuffix(attribute, " data"),
		d.Field.Kind == field.KindMap && attribute == "contents after trigger":
		same = func(p effects.Pair) bool {
			a, errA := hex.DecodeString(strings.ReplaceAll(p.A, " ", ""))
			b, errB := hex.DecodeString(strings.ReplaceAll(p.B, " ", ""))
			return errA == nil && errB == nil && onlyTypeIDs(a, b, ids)
		}
	}
	for _, p := range d.Pairs {
		if !same(p) {
			return nil
		}
	}
	return explained(len(d.Pairs) > 0)
}

func explained(yes bool) RuleIDs {
	if !yes {
		return nil
	}
	return RuleIDs{ruleLocalTypeID}
}

// typeIDs returns the pairs of different ids that instructions hold for one type: those of the
// program that a field is about, or of all programs that refer to the map that it is about.
func (o *Output) typeIDs(of field.Field) (ids [][2]uint32) {
	a, b := o.a, o.b
	for i := range a.state.Programs {
		p := &a.state.Programs[i]
		refers := of.Kind == field.KindMap && slices.Contains(p.Maps, of.Name)
		if !refers && !(of.Kind == field.KindProgram && p.Name == of.Name) {
			continue
		}
		a.p, b.p = p, b.state.FindProgram(p.Name)
		if b.p == nil {
			continue
		}
		for k := range p.Functions {
			fa := &p.Functions[k]
			fb := b.p.FindFunction(fa.Name)
			if fb == nil || len(fa.Insns) != len(fb.Insns) {
				continue
			}
			for _, s := range differentSlots(fa, fb) {
				if explainSlot(a, b, s) == ruleLocalTypeID {
					ids = append(ids, [2]uint32{uint32(s.x.Imm(s.i)), uint32(s.y.Imm(s.i))})
				}
			}
		}
	}
	return ids
}

// onlyTypeIDs reports whether x and y differ only in numbers that are ids of one type in x and in y.
func onlyTypeIDs(x, y []byte, ids [][2]uint32) bool {
	if len(x) != len(y) {
		return false
	}
	for i, free := 0, 0; i < len(x); {
		if x[i] == y[i] {
			i++
			continue
		}
		at := max(free, i-idSize+1)
		for at <= i && !isTypeID(x[at:], y[at:], ids) {
			at++
		}
		if at > i {
			return false
		}
		i, free = at+idSize, at+idSize
	}
	return true
}

// isTypeID reports whether x and y begin with ids of one type.
func isTypeID(x, y []byte, ids [][2]uint32) bool {
	return len(x) >= idSize && slices.ContainsFunc([]binary.ByteOrder{binary.LittleEndian, binary.BigEndian}, func(order binary.ByteOrder) bool {
		return slices.Contains(ids, [2]uint32{order.Uint32(x), order.Uint32(y)})
	})
}
