package object

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// readExterns collects the symbols that the target has to provide, and converts their BTF: the
// compiler emits externs, and the kernel accepts only allocated variables in sections with sizes.
func (o *opener) readExterns() error {
	dummy := o.appendDummy()
	var datasecs map[btf.TypeID]string
	for i := range o.elf.symbols {
		sym := &o.elf.symbols[i]
		if !sym.extern() || sym.name == "" {
			continue
		}
		if o.obj.BTF == nil {
			return in("", sym.name, fmt.Errorf("extern: %w", ErrNoBTF))
		}
		if datasecs == nil {
			datasecs = o.datasecOf()
		}
		ext, err := o.readExtern(sym, datasecs)
		if err != nil {
			return in("", sym.name, fmt.Errorf("extern: %w", err))
		}
		o.externBy[i] = len(o.obj.Externs)
		o.obj.Externs = append(o.obj.Externs, ext)
	}
	if err := o.fixKsyms(dummy); err != nil {
		return in(secKsyms, "", err)
	}
	return in(secKconfig, "", o.fixKconfig())
}

// appendDummy adds a variable to the BTF that replaces kfuncs in DATASEC .ksyms, where the kernel
// does not accept functions. It returns 0 if there is no kfunc.
func (o *opener) appendDummy() btf.TypeID {
	spec := o.obj.BTF
	if spec == nil {
		return 0
	}
	sec, err := o.datasec(secKsyms)
	isFunc := func(v btf.VarSecinfo) bool { return spec.KindOf(v.Type) == btf.KindFunc }
	if err != nil || !slices.ContainsFunc(sec.Vars, isFunc) {
		return 0
	}
	return spec.AppendVar("dummy_ksym", int32Type(spec), btf.Global)
}

// datasec returns the first DATASEC of this name.
func (o *opener) datasec(name string) (*btf.Type, error) {
	id, err := o.obj.BTF.First(name, btf.KindDatasec)
	if err != nil {
		return nil, err
	}
	return o.obj.BTF.Type(id)
}

// int32Type returns the first 32-bit integer. It appends one if there is none.
func int32Type(spec *btf.Spec) btf.TypeID {
	for t := range spec.OfKind(btf.KindInt) {
		if t.Int.Bits == 32 {
			return t.ID
		}
	}
	return spec.AppendInt("int", 4, true)
}

// datasecOf maps the elements of all data sections to the name of the first section that has them.
func (o *opener) datasecOf() map[btf.TypeID]string {
	of := map[btf.TypeID]string{}
	for sec := range o.obj.BTF.OfKind(btf.KindDatasec) {
		for _, v := range sec.Vars {
			if _, ok := of[v.Type]; !ok {
				of[v.Type] = sec.Name
			}
		}
	}
	return of
}

func (o *opener) readExtern(sym *symbol, datasecs map[btf.TypeID]string) (Extern, error) {
	spec := o.obj.BTF
	id, err := spec.First(sym.name, btf.KindVar, btf.KindFunc)
	if err != nil {
		return Extern{}, malformed("it is declared and not defined%s, and there is no BTF for it", o.usedBy(sym))
	}
	t, err := spec.Type(id)
	if err != nil {
		return Extern{}, err
	}
	if t.Linkage != btf.Extern {
		return Extern{}, malformed("its BTF %v is %v", t.Kind, t.Linkage)
	}
	ext := Extern{Name: sym.name, Weak: sym.bind == bindWeak, TypeID: id}
	sec, ok := datasecs[id]
	if !ok {
		how := "add __ksym if it is the kernel's, or __kconfig"
		if t.Kind == btf.KindFunc {
			how = "add __ksym if it is the kernel's (a kfunc)"
		}
		return Extern{}, malformed("it is declared and not defined%s: link the object that defines it (bpftool gen object), or %s", o.usedBy(sym), how)
	}
	switch sec {
	case secKconfig:
		return ext, o.readKconfig(&ext, t)
	case secKsyms:
		return ext, o.readKsym(&ext, t)
	default:
		return ext, unsupported("extern in section %q; use __ksym or __kconfig", sec)
	}
}

// usedBy describes the functions that refer to a symbol: `, and "run" in section "xdp" refers to
// it`. It runs before relocations are read.
func (o *opener) usedBy(sym *symbol) string {
	var users []string
	for i := range o.elf.sections {
		s := &o.elf.sections[i]
		if s.kind != shtRel || int64(s.info) >= int64(len(o.elf.sections)) {
			continue
		}
		rels, err := o.elf.relocations(s)
		if err != nil {
			continue // reported elsewhere
		}
		for _, r := range rels {
			if r.symbol != sym {
				continue
			}
			if fn, ok := o.functionAt(int(s.info), r.offset); ok {
				f := &o.obj.Functions[fn]
				if user := fmt.Sprintf("%q in section %q", f.Name, f.Section); !slices.Contains(users, user) {
					users = append(users, user)
				}
			}
		}
	}
	const shown = 3
	switch n := len(users); {
	case n == 0:
		return ""
	case n > shown:
		users = append(users[:shown], fmt.Sprintf("%d more", n-shown))
	}
	return ", and used by " + strings.Join(users, ", ")
}

func (o *opener) readKsym(ext *Extern, t *btf.Type) error {
	if t.Kind == btf.KindFunc {
		ext.Kind, ext.DeclType = ExternFunc, t.Ref
		return nil
	}
	decl, err := o.obj.BTF.SkipModifiers(t.Ref)
	if err != nil {
		return err
	}
	ext.Kind, ext.DeclType = ExternVar, decl
	if decl == 0 {
		ext.Kind = ExternTypeless
	}
	return nil
}

// virtual has the kconfig variables that are not in the kernel's configuration. The loader finds
// their values.
var virtual = []string{"LINUX_KERNEL_VERSION", "LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"}

func (o *opener) readKconfig(ext *Extern, t *btf.Type) (err error) {
	if t.Kind == btf.KindFunc {
		return unsupported("a function cannot be a kconfig value")
	}
	ext.Kind = ExternKconfig
	if !strings.HasPrefix(ext.Name, "CONFIG_") && !slices.Contains(virtual, ext.Name) && !(ext.Weak && strings.HasPrefix(ext.Name, "LINUX_")) {
		return unsupported("a kconfig variable is named CONFIG_* or is one of %s (libbpf: unrecognized virtual extern); "+
			"of others only weak ones named LINUX_* are known to be 0", strings.Join(virtual, ", "))
	}
	if ext.KconfigSize, err = o.obj.BTF.SizeOf(t.Ref); err != nil {
		return err
	}
	ext.KconfigType, ext.KconfigSigned, err = kconfigType(o.obj.BTF, t.Ref, true)
	if err != nil {
		return err
	}
	if ext.KconfigType == KconfigUnknown || ext.KconfigSize == 0 {
		return unsupported("type %s of a kconfig value", o.obj.BTF.Render(t.Ref))
	}
	return nil
}

// kconfigType classifies a type as libbpf does. It looks into one level of arrays.
func kconfigType(spec *btf.Spec, id btf.TypeID, arrays bool) (kind KconfigType, signed bool, err error) {
	t, err := spec.Underlying(id)
	if err != nil {
		return KconfigUnknown, false, err
	}
	switch t.Kind {
	case btf.KindInt:
		switch {
		case t.Int.Bool && t.Size == 1:
			return KconfigBool, false, nil
		case t.Int.Bool:
		case t.Size == 1:
			return KconfigChar, t.Int.Signed, nil
		case t.Size == 2, t.Size == 4, t.Size == 8:
			return KconfigInt, t.Int.Signed, nil
		}
	case btf.KindEnum, btf.KindEnum64:
		if t.Name == "libbpf_tristate" && (t.Kind == btf.KindEnum64 || t.Size == 4) {
			return KconfigTristate, false, nil
		}
	case btf.KindArray:
		if !arrays || t.Array.Len == 0 {
			break
		}
		elem, _, err := kconfigType(spec, t.Array.Elem, false)
		if err == nil && elem == KconfigChar {
			return KconfigCharArray, false, nil
		}
	}
	return KconfigUnknown, false, nil
}

// elements returns a DATASEC and the extern of each of its elements.
func (o *opener) elements(section string, match func(*Extern) bool) (*btf.Type, []*Extern, error) {
	if !slices.ContainsFunc(o.obj.Externs, func(e Extern) bool { return match(&e) }) {
		return nil, nil, nil
	}
	sec, err := o.datasec(section)
	if err != nil {
		return nil, nil, err
	}
	byName := map[string]*Extern{}
	for i := range o.obj.Externs {
		byName[o.obj.Externs[i].Name] = &o.obj.Externs[i]
	}
	externs := make([]*Extern, len(sec.Vars))
	for i, v := range sec.Vars {
		name := o.obj.BTF.TypeName(v.Type)
		if externs[i] = byName[name]; externs[i] == nil {
			return nil, nil, malformed("BTF lists extern %q, which is not among the symbols", name)
		}
	}
	return sec, externs, nil
}

// fixKsyms makes each element of .ksyms a 4-byte variable of type int and each
// kfunc a global function whose parameters have names.
func (o *opener) fixKsyms(dummy btf.TypeID) error {
	sec, externs, err := o.elements(secKsyms, func(e *Extern) bool { return e.Kind != ExternKconfig })
	if sec == nil || err != nil {
		return err
	}
	spec := o.obj.BTF
	i32 := int32Type(spec)
	for i := range externs {
		v := &sec.Vars[i]
		t, err := spec.Type(v.Type)
		if err != nil {
			return err
		}
		if t.Kind == btf.KindFunc {
			d, err := spec.Type(dummy)
			if err != nil {
				return err
			}
			err = errors.Join(spec.NameParams(t.Ref, d.NameOff), spec.SetLinkage(v.Type, btf.Global))
			if err != nil {
				return err
			}
			v.Type = dummy
		} else if err := errors.Join(spec.SetLinkage(v.Type, btf.Global), spec.SetVarType(v.Type, i32)); err != nil {
			return err
		}
		v.Offset, v.Size = uint32(i)*4, 4
	}
	return spec.SetDatasec(sec.ID, uint32(len(externs))*4, sec.Vars)
}

// fixKconfig lays out the kconfig values as libbpf does, by descending alignment, then size, then
// name, and writes the layout to DATASEC .kconfig.
func (o *opener) fixKconfig() error {
	sec, externs, err := o.elements(secKconfig, func(e *Extern) bool { return e.Kind == ExternKconfig })
	if sec == nil || err != nil {
		return err
	}
	size, err := o.layoutKconfig()
	if err != nil {
		return err
	}
	for i, e := range externs {
		if e.Kind != ExternKconfig {
			return malformed("BTF lists %q here and in %s", e.Name, secKsyms)
		}
		if err := o.obj.BTF.SetLinkage(sec.Vars[i].Type, btf.Global); err != nil {
			return err
		}
		sec.Vars[i].Offset = e.KconfigOffset
	}
	return o.obj.BTF.SetDatasec(sec.ID, size, sec.Vars)
}

// layoutKconfig sets KconfigOffset of all kconfig values and returns their total size.
func (o *opener) layoutKconfig() (uint32, error) {
	type entry struct {
		*Extern
		align uint32
	}
	var entries []entry
	for i := range o.obj.Externs {
		e := &o.obj.Externs[i]
		if e.Kind != ExternKconfig {
			continue
		}
		t, err := o.obj.BTF.Type(e.TypeID)
		if err != nil {
			return 0, err
		}
		align, err := o.obj.BTF.AlignOf(t.Ref)
		if err != nil {
			return 0, err
		}
		if align == 0 {
			return 0, malformed("%q has no alignment", e.Name)
		}
		entries = append(entries, entry{e, align})
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.align, a.align), cmp.Compare(a.KconfigSize, b.KconfigSize), strings.Compare(a.Name, b.Name))
	})
	var off uint64
	for _, e := range entries {
		off = (off + uint64(e.align) - 1) / uint64(e.align) * uint64(e.align)
		if off+uint64(e.KconfigSize) > MaxKconfigBytes {
			return 0, in(secKconfig, e.Name, fmt.Errorf("%w: kconfig values of more than %d bytes (MaxKconfigBytes)", ErrTooLarge, MaxKconfigBytes))
		}
		e.KconfigOffset = uint32(off)
		off += uint64(e.KconfigSize)
	}
	return uint32(off), nil
}
