package compare

import (
	"bytes"
	"strings"
)

// isStructOpsFilled: cilium/ebpf has set a struct_ops map, the other engine has not.
// With mixed, it has set members, too, that the object leaves alone or sets to
// another function, to functions which another map of the type has there; without,
// the object's members and no other. What is no function is as the object has it.
func isStructOpsFilled(left, right side, mixed bool) bool {
	if left.Object == nil || len(left.m.Contents.Entries) != 1 || len(right.m.Contents.Entries) != 0 ||
		left.m.Contents.NotRead != "" || right.m.Contents.NotRead != "" {
		return false
	}
	own, ok := left.Object.StructOps[left.m.Name]
	e := &left.m.Contents.Entries[0]
	set := strings.Fields(e.Ref)
	if !ok || len(set) == 0 || set[0] != "READY" || !bytes.Equal(e.Key, make([]byte, 4)) || !bytes.Equal(plainBytes(e.Value), own.Plain) {
		return false
	}
	missing, others := len(own.Members), 0
	for _, s := range set[1:] {
		member, function, _ := strings.Cut(s, "=")
		switch want, ok := own.Members[member]; {
		case ok && want == function:
			missing--
		case !ok && left.Object.implements(own.Type, member, function):
			others++
		case ok && left.Object.implements(own.Type, member, function):
			missing--
			others++
		default:
			return false
		}
	}
	return missing == 0 && (others > 0) == mixed
}

// implements reports whether a function is a member of some struct_ops map of a type.
func (f *Facts) implements(kind, member, function string) bool {
	for _, m := range f.StructOps {
		if m.Type == kind && m.Members[member] == function {
			return true
		}
	}
	return false
}
