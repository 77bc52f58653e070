package skel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/bpfreplay/bpfreplay/internal/target"
)

var errNotLoaded = errors.New("it is not loaded")

// Attach attaches one program or struct_ops map and stores the link in at. If at holds a link
// already, Attach does nothing. subject names the program or map in errors.
func Attach[T *ebpf.Program | *ebpf.Map, L io.Closer](at *L, subject string, it T, attach func(T) (L, error)) error {
	if any(*at) != nil {
		return nil
	}
	if it == nil {
		return fmt.Errorf("attach %s: %w", subject, errNotLoaded)
	}
	l, err := attach(it)
	if err != nil {
		return fmt.Errorf("attach %s: %w", subject, err)
	}
	*at = l
	return nil
}

// AttachAll calls the attach functions in order. If one fails, it calls detach.
func AttachAll(detach func() error, each ...func() error) error {
	for _, attach := range each {
		if err := attach(); err != nil {
			return errors.Join(err, detach())
		}
	}
	return nil
}

// Detach closes the links that are not nil.
func Detach(links ...io.Closer) error {
	var all []error
	for _, l := range links {
		if l != nil {
			all = append(all, l.Close())
		}
	}
	return errors.Join(all...)
}

// Iter attaches an iterator program (5.8). The link is a [*link.Iter], whose Open returns the
// iterator's text. The caller owns the link.
func Iter(p *ebpf.Program) (link.Link, error) {
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// KprobeMulti attaches to all kernel functions that match a pattern with * and ? (5.18). The caller
// owns the link.
func KprobeMulti(p *ebpf.Program, pattern string, onReturn, session bool) (link.Link, error) {
	symbols, err := target.Functions(pattern)
	if err != nil {
		return nil, err
	}
	o := link.KprobeMultiOptions{Symbols: symbols, Session: session}
	if onReturn {
		return link.KretprobeMulti(p, o)
	}
	return link.KprobeMulti(p, o)
}

// Uprobe attaches to the address at offset bytes from a symbol of an executable or library. The
// caller owns the link.
func Uprobe(p *ebpf.Program, file, symbol string, offset uint64, onReturn bool) (link.Link, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	o := &link.UprobeOptions{Offset: offset}
	if onReturn {
		return x.Uretprobe(symbol, p, o)
	}
	return x.Uprobe(symbol, p, o)
}

// UprobeMulti attaches to a function of an executable or library through a uprobe_multi link (6.6).
// The caller owns the link.
func UprobeMulti(p *ebpf.Program, file, symbol string, onReturn bool) (link.Link, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	if onReturn {
		return x.UretprobeMulti([]string{symbol}, p, nil)
	}
	return x.UprobeMulti([]string{symbol}, p, nil)
}

// Function is a member of a struct_ops map that a program implements. Program is the program's
// index in the artefact.
type Function struct {
	Member  string
	Program int
}

// Value is a member of a struct_ops map that is not a function, in the object's layout.
type Value = target.StructOpsValue

// RegisterLink fills a struct_ops map and registers it with a link (6.4). The caller owns the link;
// closing it unregisters the map.
func (s *Skeleton) RegisterLink(m *ebpf.Map, ops string, values []Value, functions []Function) (link.Link, error) {
	if err := s.fill(m, ops, values, functions); err != nil {
		return nil, err
	}
	return link.AttachStructOps(link.StructOpsOptions{Map: m})
}

// Register fills a struct_ops map, which registers it (5.6). Closing the result unregisters it.
func (s *Skeleton) Register(m *ebpf.Map, ops string, values []Value, functions []Function) (io.Closer, error) {
	if err := s.fill(m, ops, values, functions); err != nil {
		return nil, err
	}
	return registered{m}, nil
}

// registered is a struct_ops map that was registered without a link.
type registered struct{ m *ebpf.Map }

func (r registered) Close() error { return r.m.Delete(uint32(0)) }

// fill stores the value of a struct_ops map in the layout of the running kernel.
func (s *Skeleton) fill(m *ebpf.Map, ops string, values []Value, functions []Function) error {
	for _, f := range functions {
		fd := binary.NativeEndian.AppendUint64(nil, uint64(s.Program(f.Program).FD()))
		values = append(values, Value{Member: f.Member, Bytes: string(fd)})
	}
	value, err := target.New().StructOpsMap(ops, values)
	if err != nil {
		return err
	}
	if err := m.Put(uint32(0), value); err != nil {
		return fmt.Errorf("fill the map: %w", err)
	}
	return nil
}
