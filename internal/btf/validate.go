package btf

// validate decodes every type of the blob, makes those checks of the kernel's BTF verifier that
// readers rely on, and refuses types that contain themselves.
func (s *Spec) validate() error {
	for id := range s.All() {
		t, err := s.Type(id)
		if err != nil {
			return err
		}
		if err := s.validateType(t); err != nil {
			return err
		}
	}
	return s.validateLoops()
}

func (s *Spec) validateType(t *Type) error {
	switch t.Kind {
	case KindVar:
		if t.Linkage > Extern {
			return malformed("var %q has unknown %v", t.Name, t.Linkage)
		}
	case KindFunc:
		if k := s.KindOf(t.Ref); k != KindFuncProto {
			return malformed("func %q is of kind %v, not func_proto", t.Name, k)
		}
		if t.Linkage > Extern {
			return malformed("func %q has unknown %v", t.Name, t.Linkage)
		}
	case KindDatasec:
		for i, v := range t.Vars {
			if k := s.KindOf(v.Type); k != KindVar && k != KindFunc {
				return malformed("datasec %q: element %d is of kind %v, not var or func", t.Name, i, k)
			}
		}
	case KindDeclTag:
		if t.Component < -1 {
			return malformed("decl_tag %q has component %d", t.Name, t.Component)
		}
	}
	return nil
}

// byValue calls visit for each type that a type contains by value. Walks that compute sizes or
// render a type in full step into these.
func (s *Spec) byValue(id TypeID, visit func(TypeID)) {
	b := s.at(id)
	if b == nil {
		return
	}
	info := le.Uint32(b[4:])
	switch kind := infoKind(info); kind {
	case KindTypedef, KindVolatile, KindConst, KindRestrict, KindTypeTag, KindVar, KindFunc, KindDeclTag:
		visit(TypeID(le.Uint32(b[8:])))
	case KindArray:
		visit(TypeID(le.Uint32(b[typeHeader:])))
	case KindStruct, KindUnion:
		for i := range infoVlen(info) {
			visit(TypeID(le.Uint32(b[typeHeader+i*12+4:])))
		}
	}
}

// validateLoops looks for types that contain themselves. Its depth-first walk has an explicit
// stack, so that hostile blobs cannot exhaust the goroutine's.
func (s *Spec) validateLoops() error {
	const open, done = 1, 2
	state := make([]uint8, s.NumTypes())
	var stack []TypeID
	for root := range s.All() {
		stack = append(stack[:0], root)
		for len(stack) > 0 {
			id := stack[len(stack)-1]
			if state[id] != 0 {
				state[id] = done
				stack = stack[:len(stack)-1]
				continue
			}
			state[id] = open
			looped := false
			s.byValue(id, func(to TypeID) {
				if state[to] == open {
					looped = true
				}
				if state[to] == 0 {
					stack = append(stack, to)
				}
			})
			if looped {
				return malformed("type %d (%v %q) contains itself", id, s.KindOf(id), s.TypeName(id))
			}
		}
	}
	return nil
}
