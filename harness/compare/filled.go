package compare

import (
	"bytes"
	"strings"
)

// isStructOpsFilled reports whether the left engine, cilium/ebpf, has set a struct_ops map and the
// other has not. If mixed is false, the map must have exactly the object's members. If mixed is
// true, at least one member must have a function that another map of the same type has for it. The
// bytes of other members must be the object's.
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

// implements reports whether some struct_ops map of a type has this function for this member.
func (f *Facts) implements(kind, member, function string) bool {
	for _, m := range f.StructOps {
		if m.Type == kind && m.Members[member] == function {
			return true
		}
	}
	return false
}
