package random

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Shrink returns a smaller object for which still returns true, as it does for o. It calls still at
// most limit times.
func Shrink(o *Object, limit int, still func(*Object) bool) *Object {
	s := &shrinker{still: still, left: limit, o: o}
	for before := -1; before != s.o.Parts() && s.left > 0; {
		before = s.o.Parts()
		s.drop(func(o *Object) []string { return namesOf(o.Functions) })
		s.drop(func(o *Object) []string { return namesOf(o.Maps) })
		s.drop(func(o *Object) []string { return namesOf(o.Vars) })
		s.drop(func(o *Object) []string { return namesOf(o.Externs) })
		s.drop(blockIDs)
		s.unwrap()
		s.simplify()
	}
	return s.o
}

// unwrap replaces blocks by their contents.
func (s *shrinker) unwrap() {
	for i := range s.o.Functions {
		walk(s.o.Functions[i].Blocks, func(b *Block) {
			if len(b.Body) == 0 {
				return
			}
			o := *s.o
			o.Functions = slices.Clone(o.Functions)
			o.Functions[i].Blocks = unwrapped(o.Functions[i].Blocks, b.ID)
			s.try(&o)
		})
	}
}

func unwrapped(blocks []Block, id string) []Block {
	var out []Block
	for _, b := range blocks {
		if b.ID == id {
			out = append(out, b.Body...)
			continue
		}
		b.Body = unwrapped(b.Body, id)
		out = append(out, b)
	}
	return out
}

type shrinker struct {
	still func(*Object) bool
	left  int
	o     *Object
}

// try replaces the object by the smaller one if still returns true for it.
func (s *shrinker) try(o *Object) bool {
	if s.left == 0 || !slices.ContainsFunc(o.Functions, func(f Function) bool { return f.Role == Program }) {
		return false // an object without programs shows nothing
	}
	s.left--
	if !s.still(o) {
		return false
	}
	s.o = o
	return true
}

// drop removes things of one kind: all of them, then halves, quarters and so on.
func (s *shrinker) drop(names func(*Object) []string) {
	for n := len(names(s.o)); n > 0; n /= 2 {
		for at := 0; ; {
			list := names(s.o)
			if at >= len(list) {
				break
			}
			drop := make(map[string]bool)
			for _, name := range list[at:min(at+n, len(list))] {
				drop[name] = true
			}
			if !s.try(s.o.Without(drop)) {
				at += n
			}
		}
	}
}

// simplify removes attributes of things.
func (s *shrinker) simplify() {
	change := func(f func(o *Object)) {
		o := *s.o
		o.Maps = slices.Clone(o.Maps)
		f(&o)
		s.try(&o)
	}
	if s.o.Lines {
		change(func(o *Object) { o.Lines = false })
	}
	if s.o.Compiled {
		change(func(o *Object) { o.Compiled = false })
	}
	for i := range s.o.Maps {
		if s.o.Maps[i].Slots != nil {
			change(func(o *Object) { o.Maps[i].Slots = nil })
		}
		if s.o.Maps[i].NUMA {
			change(func(o *Object) {
				o.Maps[i].NUMA = false
				o.Maps[i].Flags &^= unix.BPF_F_NUMA_NODE
			})
		}
	}
}

func blockIDs(o *Object) (ids []string) {
	for _, f := range o.Functions {
		walk(f.Blocks, func(b *Block) { ids = append(ids, b.ID) })
	}
	return ids
}

// Parts returns the number of things in the object; each step reduces it.
func (o *Object) Parts() int {
	n := len(o.Functions) + len(o.Maps) + len(o.Vars) + len(o.Externs) + len(blockIDs(o))
	for _, m := range o.Maps {
		n += len(m.Slots)
		if m.NUMA {
			n++
		}
	}
	for _, set := range []bool{o.Lines, o.Compiled} {
		if set {
			n++
		}
	}
	return n
}
