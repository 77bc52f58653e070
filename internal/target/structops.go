package target

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// structOpsPrefix precedes the name of a struct_ops type in the kernel's name for the type of its
// map's value.
const structOpsPrefix = "bpf_struct_ops_"

// structOpsTypes finds a struct_ops type of the kernel and the type of its map's value.
func (t *Target) structOpsTypes(name string) (ops, value *btf.Type, spec *btf.Spec, err error) {
	id, fd, err := t.FindType(name, uint32(btf.KindStruct), "")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("kernel type struct %s: %w", name, err)
	}
	if fd >= 0 {
		defer bpfsys.Close(fd)
	}
	if spec, err = t.specOf(fd); err != nil {
		return nil, nil, nil, err
	}
	if ops, err = spec.Type(btf.TypeID(id)); err != nil {
		return nil, nil, nil, err
	}
	valueID, err := spec.First(structOpsPrefix+name, btf.KindStruct)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("kernel type struct %s%s: %w", structOpsPrefix, name, unix.ENOENT)
	}
	value, err = spec.Type(valueID)
	return ops, value, spec, err
}

// member returns the index of a member of a struct, -1 if there is none of this name.
func member(t *btf.Type, name string) int {
	return slices.IndexFunc(t.Members, func(m btf.Member) bool { return m.Name == name })
}

// memberIndex returns the index of a member in a struct_ops type of the kernel.
func (t *Target) memberIndex(so *artefact.StructOps, name string) (uint32, error) {
	ops, _, _, err := t.structOpsTypes(so.Type)
	if err != nil {
		return 0, err
	}
	i := member(ops, name)
	if i < 0 {
		return 0, fmt.Errorf("this kernel's struct %s has no member %s: %w", so.Type, name, unix.ENOTSUP)
	}
	return uint32(i), nil
}

// valueSize returns the size of the value of a struct_ops map. Like libbpf at load, it checks that
// the kernel's layout can represent what the object sets: the kernel must have each member that is
// set, with the same kind and size.
func (t *Target) valueSize(so *artefact.StructOps) (uint32, error) {
	ops, value, kernel, err := t.structOpsTypes(so.Type)
	if err != nil {
		return 0, err
	}
	for _, m := range so.Members {
		i := member(ops, m.Name)
		switch {
		case m.Kind == "bitfield":
			err = fmt.Errorf("is a bitfield")
		case i >= 0:
			err = sameShape(m, kernel, ops.Members[i].Type)
		case m.Set:
			err = fmt.Errorf("is set, but this kernel's type has no such member")
		}
		if err != nil {
			return 0, fmt.Errorf("member %s of struct %s %w: %w", m.Name, so.Type, err, unix.ENOTSUP)
		}
	}
	return value.Size, nil
}

// sameShape checks that a member has the kernel's kind and size.
func sameShape(m artefact.Member, kernel *btf.Spec, id btf.TypeID) error {
	t, err := kernel.Underlying(id)
	if err != nil {
		return err
	}
	if t.Kind.String() != m.Kind {
		return fmt.Errorf("is a %s here and a %v in this kernel", m.Kind, t.Kind)
	}
	if size, err := kernel.SizeOf(id); err != nil || size != m.Size {
		return fmt.Errorf("has %d bytes here and %d in this kernel", m.Size, size)
	}
	return nil
}

// StructOpsValue is a member of a struct_ops map in the object's layout: the bytes of a value, or
// the fd of the program that implements the member as a u64.
type StructOpsValue struct{ Member, Bytes string }

// StructOpsMap returns the value of a struct_ops map in this kernel's layout. Storing it in the map
// registers the map, or prepares it for a link. Members that differ between kernel and object were
// refused when the map was created (valueSize).
func (t *Target) StructOpsMap(ops string, values []StructOpsValue) ([]byte, error) {
	inner, outer, _, err := t.structOpsTypes(ops)
	if err != nil {
		return nil, err
	}
	data := member(outer, "data")
	if data < 0 {
		return nil, fmt.Errorf("kernel type struct %s%s has no member data: %w", structOpsPrefix, ops, unix.ENOTSUP)
	}
	value := make([]byte, outer.Size)
	for _, v := range values {
		i := member(inner, v.Member)
		if i < 0 {
			return nil, fmt.Errorf("this kernel's struct %s has no member %s: %w", ops, v.Member, unix.ENOTSUP)
		}
		from := int(outer.Members[data].BitOffset+inner.Members[i].BitOffset) / 8
		if from+len(v.Bytes) > len(value) {
			return nil, fmt.Errorf("member %s of this kernel's struct %s: %d bytes at %d of %d: %w", v.Member, ops, len(v.Bytes), from, len(value), unix.ENOTSUP)
		}
		copy(value[from:], v.Bytes)
	}
	return value, nil
}
