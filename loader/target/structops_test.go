package target

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/object"
)

// What the kernel's struct_ops type has no place for is refused if it is set.
func TestCheckStructOps(t *testing.T) {
	obj, err := object.Open("../../selftests/bpf/struct_ops_two.bpf.o")
	assert.NilError(t, err)
	var so *object.StructOps
	for i := range obj.Maps {
		if obj.Maps[i].StructOps != nil {
			so = obj.Maps[i].StructOps
		}
	}
	ops, err := obj.BTF.Type(so.TypeID)
	assert.NilError(t, err)
	set := so.Members[0].Name
	loaded := func(member string) bool { return member == set }
	none := func(string) bool { return false }

	assert.NilError(t, checkStructOps(obj.BTF, obj.BTF, ops, so, loaded), "the object's type is the kernel's")

	older := *ops
	older.Members = nil
	for _, m := range ops.Members {
		if m.Name != set {
			older.Members = append(older.Members, m)
		}
	}
	err = checkStructOps(obj.BTF, obj.BTF, &older, so, loaded)
	assert.ErrorContains(t, err, "member "+set+" of struct "+so.Type+" is set, but this kernel's type has no such member")
	assert.Assert(t, errors.Is(err, unix.ENOTSUP))
	assert.NilError(t, checkStructOps(obj.BTF, obj.BTF, &older, so, none), "its program is not loaded")

	changed := older
	changed.Members = append(changed.Members[:len(changed.Members):len(changed.Members)], ops.Members[0])
	for i := range changed.Members {
		if changed.Members[i].Name != set {
			changed.Members[i].Name, changed.Members[i].Type = set, so.TypeID
			break
		}
	}
	assert.ErrorContains(t, checkStructOps(obj.BTF, obj.BTF, &changed, so, loaded), "in this kernel")
}
