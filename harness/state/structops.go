package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// structOpsStates are the names in enum bpf_struct_ops_state, without BPF_STRUCT_OPS_STATE_.
var structOpsStates = [...]string{"INIT", "INUSE", "TOBEFREE", "READY"}

// structOpsLayout has offsets in a struct_ops map's value, in bytes.
type structOpsLayout struct {
	refcnt, state int            // 4 bytes each
	slots         map[int]string // names of function pointers, by offset
}

// structOps reads the value of a struct_ops map; an unset value has no entry. Ids of programs
// become names: Ref has the state, and the program for each member.
func (r *reader) structOps() ([]Entry, error) {
	info, _, err := bpfsys.GetMapInfo(r.fd)
	if err != nil {
		return nil, err
	}
	spec, err := r.c.kernel.specOf(info.BTFVmlinuxID)
	if err != nil {
		return nil, err
	}
	layout, err := structOpsLayoutOf(spec, btf.TypeID(info.BTFVmlinuxValueTypeID))
	if err != nil {
		return nil, err
	}
	key, value := make([]byte, r.m.KeySize), make([]byte, r.valueSize)
	if err := bpfsys.LookupElem(r.fd, key, value); err != nil {
		return nil, err
	}
	e, err := layout.entry(value, r.c.programInSlot)
	if e == nil || err != nil {
		return nil, err
	}
	e.Key = key
	return []Entry{*e}, nil
}

// specOf returns a BTF object of the kernel. Kernels before 6.9 do not report which one has a
// struct_ops type, but there it can only be vmlinux.
func (k *Kernel) specOf(object uint32) (*btf.Spec, error) {
	if object == 0 {
		return k.vmlinuxSpec()
	}
	b, err := k.btfByID(object)
	if err != nil {
		return nil, err
	}
	return b.spec, nil
}

func structOpsLayoutOf(spec *btf.Spec, value btf.TypeID) (*structOpsLayout, error) {
	l := &structOpsLayout{refcnt: -1, state: -1, slots: make(map[int]string)}
	t, err := spec.Type(value)
	if err != nil {
		return nil, err
	}
	members := slices.Clone(t.Members)
	for _, m := range t.Members {
		if m.Name != "common" { // since 6.9; before, its members are in the value itself
			continue
		}
		common, err := spec.Underlying(m.Type)
		if err != nil {
			return nil, err
		}
		for _, inner := range common.Members {
			inner.BitOffset += m.BitOffset
			members = append(members, inner)
		}
	}
	for _, m := range members {
		switch m.Name {
		case "refcnt":
			l.refcnt = int(m.BitOffset / 8)
		case "state":
			l.state = int(m.BitOffset / 8)
		case "data":
			if err := l.findSlots(spec, m); err != nil {
				return nil, err
			}
		}
	}
	if l.refcnt < 0 || l.state < 0 {
		return nil, fmt.Errorf("struct %s: no members refcnt and state: %w", t.Name, btf.ErrNotFound)
	}
	return l, nil
}

func (l *structOpsLayout) findSlots(spec *btf.Spec, data btf.Member) error {
	ops, err := spec.Underlying(data.Type)
	if err != nil {
		return err
	}
	for _, m := range ops.Members {
		t, err := spec.Underlying(m.Type)
		if err != nil {
			return err
		}
		if t.Kind != btf.KindPtr {
			continue
		}
		if to, err := spec.Underlying(t.Ref); err == nil && to.Kind == btf.KindFuncProto {
			l.slots[int(data.BitOffset+m.BitOffset)/8] = m.Name
		}
	}
	return nil
}

// entry parses a value. It returns nil if the value is not set.
func (l *structOpsLayout) entry(value []byte, program func(id uint32) (string, error)) (*Entry, error) {
	if len(value) < max(l.refcnt, l.state)+4 {
		return nil, fmt.Errorf("value of %d bytes lacks its state", len(value))
	}
	state := le.Uint32(value[l.state:])
	if state == 0 {
		return nil, nil
	}
	clear(value[l.refcnt : l.refcnt+4])
	clear(value[l.state : l.state+4])
	var set []string
	for off, member := range l.slots {
		if off+8 > len(value) {
			return nil, fmt.Errorf("value of %d bytes lacks member %s", len(value), member)
		}
		id := le.Uint64(value[off:])
		if id == 0 {
			continue
		}
		clear(value[off : off+8])
		name, err := program(uint32(id))
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", member, err)
		}
		set = append(set, member+"="+name)
	}
	name := fmt.Sprintf("state %d", state)
	if int(state) < len(structOpsStates) {
		name = structOpsStates[state]
	}
	slices.Sort(set)
	ref := strings.Join(append([]string{name}, set...), " ") // "READY init=first ssthresh=second"
	return &Entry{Value: TrimZeros(value), Ref: ref}, nil
}
