package target

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

// checkStructOps checks, as libbpf does at load, that what the object sets can
// be said in the kernel's layout: each member that is set must be there, and
// what is there must be of the same kind and size. loaded says whether the load
// has a program for a member.
func checkStructOps(local, kernel *btf.Spec, ops *btf.Type, so *object.StructOps, loaded func(member string) bool) error {
	t, err := local.Type(so.TypeID)
	if err != nil {
		return err
	}
	for _, m := range t.Members {
		if m.BitOffset%8 != 0 || m.BitSize != 0 {
			return memberError(so, m.Name, "is a bitfield")
		}
		size, err := local.SizeOf(m.Type)
		if err != nil {
			return err
		}
		from := int(m.BitOffset / 8)
		if from+int(size) > len(so.Data) {
			return memberError(so, m.Name, "is outside of the struct")
		}
		set := loaded(m.Name) || slices.ContainsFunc(so.Data[from:from+int(size)], func(b byte) bool { return b != 0 })
		i := slices.IndexFunc(ops.Members, func(k btf.Member) bool { return k.Name == m.Name })
		if i < 0 {
			if set {
				return memberError(so, m.Name, "is set, but this kernel's type has no such member")
			}
			continue
		}
		if err := sameShape(local, m.Type, kernel, ops.Members[i].Type); err != nil {
			return memberError(so, m.Name, err.Error())
		}
	}
	return nil
}

func memberError(so *object.StructOps, name, what string) error {
	return fmt.Errorf("member %s of struct %s %s: %w", name, so.Type, what, unix.ENOTSUP)
}

// sameShape compares kind and size of two types.
func sameShape(local *btf.Spec, a btf.TypeID, kernel *btf.Spec, b btf.TypeID) error {
	ta, err := local.Underlying(a)
	if err != nil {
		return err
	}
	tb, err := kernel.Underlying(b)
	if err != nil {
		return err
	}
	if ta.Kind != tb.Kind {
		return fmt.Errorf("is a %v here and a %v in this kernel", ta.Kind, tb.Kind)
	}
	sa, err1 := local.SizeOf(a)
	sb, err2 := kernel.SizeOf(b)
	if err1 != nil || err2 != nil || sa != sb {
		return fmt.Errorf("has %d bytes here and %d in this kernel", sa, sb)
	}
	return nil
}
