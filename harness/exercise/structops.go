package exercise

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Ops is a struct_ops map. A load creates the map and its programs. Attaching fills the map with
// the programs' file descriptors, as libbpf's bpf_map__attach_struct_ops does, and registers it:
// with a link (6.4), or by filling it.
type Ops struct {
	Map  string
	Type string // the kernel's struct: "tcp_congestion_ops"
	Link bool

	values    []opsValue
	functions []opsFunction
}

// opsValue is a member that is not a function and not zero.
type opsValue struct {
	member string
	bytes  []byte
}

type opsFunction struct{ member, program string }

func opsOf(o *object.Object, m *object.Map) Ops {
	so := m.StructOps
	ops := Ops{Map: m.Name, Type: so.Type, Link: so.Link}
	for _, f := range so.Members {
		ops.functions = append(ops.functions, opsFunction{f.Name, o.Functions[f.Function].Name})
	}
	t, err := o.BTF.Type(so.TypeID)
	if err != nil {
		return ops
	}
	for _, f := range t.Members {
		size, err := o.BTF.SizeOf(f.Type)
		from := int(f.BitOffset / 8)
		if err != nil || from+int(size) > len(so.Data) {
			continue
		}
		if b := so.Data[from : from+int(size)]; slices.ContainsFunc(b, func(b byte) bool { return b != 0 }) {
			ops.values = append(ops.values, opsValue{f.Name, b})
		}
	}
	return ops
}

// value returns the map's value in the kernel's layout of the struct.
func (ops *Ops) value(kernel *btf.Spec, programs []state.Handle) ([]byte, error) {
	id, err := kernel.First("bpf_struct_ops_"+ops.Type, btf.KindStruct)
	if err != nil {
		return nil, errNotAttached("struct %s is not in the types of vmlinux", ops.Type)
	}
	t, err := kernel.Type(id)
	if err != nil {
		return nil, err
	}
	value := make([]byte, t.Size)
	data := slices.IndexFunc(t.Members, func(m btf.Member) bool { return m.Name == "data" })
	if data < 0 {
		return nil, errNotAttached("struct %s has no member data", t.Name)
	}
	inner, err := kernel.Underlying(t.Members[data].Type)
	if err != nil {
		return nil, err
	}
	values := slices.Clone(ops.values)
	for _, f := range ops.functions {
		if i := slices.IndexFunc(programs, func(h state.Handle) bool { return h.Name == f.program }); i >= 0 {
			values = append(values, opsValue{f.member, native.AppendUint64(nil, uint64(programs[i].FD))})
		}
	}
	for _, v := range values {
		i := slices.IndexFunc(inner.Members, func(m btf.Member) bool { return m.Name == v.member })
		if i < 0 {
			return nil, errNotAttached("struct %s has no member %s", ops.Type, v.member)
		}
		from := int(t.Members[data].BitOffset+inner.Members[i].BitOffset) / 8
		if from+len(v.bytes) > len(value) {
			return nil, errNotAttached("member %s is outside of struct %s", v.member, ops.Type)
		}
		copy(value[from:], v.bytes)
	}
	return value, nil
}

// registerOne fills and registers a struct_ops map, makes its programs run, and unregisters it. A
// map with a link keeps its contents.
func (g *Sandbox) registerOne(s effects.Sample, ops *Ops, fd int, programs []state.Handle) {
	of := field.Map(ops.Map, "")
	a, err := g.register(ops, fd, programs)
	s.Set(of.With("register"), outcome(err))
	if err != nil {
		return
	}
	defer a.detach()
	if ops.Type == "tcp_congestion_ops" {
		a.own = func() string { return "tcp: " + connection(ops.name()) }
	}
	before := make(map[int]uint64)
	for _, h := range programs {
		before[h.FD] = runCount(h.FD)
	}
	triggerWith(s, of.With("trigger"), g, a, anyStep)
	for _, h := range programs {
		if n := runCount(h.FD) - before[h.FD]; n > 0 {
			ran := field.Field{Aspect: of.With("ran").Aspect, Name: ops.Map, Function: h.Name}
			s.Set(ran, strconv.FormatUint(n, 10))
		}
	}
}

// name returns the struct's member "name", by which users select it.
func (ops *Ops) name() string {
	for _, v := range ops.values {
		if v.member == "name" {
			return bpfsys.CString(v.bytes)
		}
	}
	return ""
}

func (g *Sandbox) register(ops *Ops, fd int, programs []state.Handle) (*attachment, error) {
	kernel, err := g.types()
	if err != nil {
		return nil, err
	}
	value, err := ops.value(kernel, programs)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 4)
	err = element(bpfsys.MapUpdateElem, fd, key, value)
	// EBUSY: the engine has already filled the map.
	if err != nil && !(ops.Link && errors.Is(err, unix.EBUSY)) {
		return nil, fmt.Errorf("fill: %w", err)
	}
	if ops.Link {
		return link(fd, 0, uapi.AttachStructOps, 0)
	}
	return &attachment{undo: func() { _ = element(bpfsys.MapDeleteElem, fd, key, nil) }}, nil
}

func element(cmd bpfsys.Cmd, fd int, key, value []byte) error {
	var m bpfsys.Memory
	defer m.Release()
	_, err := bpfsys.Call(cmd, &bpfsys.ElemAttr{MapFD: uint32(fd), Key: m.At(key), Value: m.At(value)})
	return err
}
