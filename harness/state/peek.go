package state

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// peek is a small BPF program that reads kernel memory. It reads attributes of a load that no
// system call returns: a program's expected attach type, whether it may sleep, the properties that
// a map of maps requires of inner maps. They determine how the program or map can be used, so they
// must be compared.
//
// It follows the pointers from the task through its file descriptors to struct bpf_prog and struct
// bpf_map, with the offsets from the kernel's own BTF. It needs 5.14, and a kernel that lets BPF
// read its memory (no lockdown for confidentiality).
type peek struct {
	prog   int // file descriptor
	places *places
}

func newPeek(p *places) (*peek, error) {
	fd, err := loadSyscall("state_peek", peekProgram())
	if err != nil {
		return nil, fmt.Errorf("peek: %w", err)
	}
	return &peek{prog: fd, places: p}, nil
}

func (p *peek) close() { bpfsys.Close(p.prog) }

// peekProgram has as its context an address, and after it the 8 bytes at that address. Address 0
// means that of the current task.
func peekProgram() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R3, asm.R6, 0, asm.DWord),
		asm.JNE.Imm(asm.R3, 0, "read"),

		asm.FnGetCurrentTask.Call(),
		asm.StoreMem(asm.R6, 8, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),

		asm.Mov.Reg(asm.R1, asm.RFP).WithSymbol("read"),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord),
		asm.StoreMem(asm.R6, 8, asm.R1, asm.DWord),
		asm.Return(),
	}
}

// read returns the 8 bytes at an address.
func (p *peek) read(addr uint64) (uint64, error) {
	ctx := le.AppendUint64(nil, addr)
	ctx = append(ctx, make([]byte, 8)...)
	ret, err := bpfsys.RunLoader(p.prog, ctx)
	if err != nil {
		return 0, fmt.Errorf("peek: %w", err)
	}
	if ret < 0 {
		return 0, fmt.Errorf("peek at %#x: %w", addr, unix.Errno(-ret))
	}
	return le.Uint64(ctx[8:]), nil
}

// field reads a member of the struct at base.
func (p *peek) field(base uint64, at member) (uint64, error) {
	v, err := p.read(base + uint64(at.bit/8))
	if err != nil {
		return 0, err
	}
	v >>= at.bit % 8
	if at.bits < 64 {
		v &= 1<<at.bits - 1
	}
	return v, nil
}

// object returns the address of the struct bpf_prog or bpf_map of a file descriptor of this
// process.
func (p *peek) object(fd int) (addr uint64, err error) {
	if addr, err = p.read(0); err != nil {
		return 0, err
	}
	for _, m := range []member{p.places.files, p.places.fdt, p.places.fds} {
		if addr, err = p.field(addr, m); err != nil {
			return 0, err
		}
	}
	if addr, err = p.read(addr + 8*uint64(fd)); err != nil {
		return 0, err
	}
	return p.field(addr, p.places.private)
}

// member is the offset and the size of a kernel struct's member, in bits.
type member struct{ bit, bits uint32 }

// places are the members that peek reads.
type places struct {
	files, fdt, fds, private member // task_struct, files_struct, fdtable, file

	aux, attachType      member // of bpf_prog
	sleepable, frags     member
	sleepableIn, fragsIn string // the structs that contain them

	numa, inner                                member // of bpf_map
	mapType, keySize, valueSize, entries, flag member

	arenaStart member // of bpf_arena, which begins with a bpf_map; zero before 6.9
}

// findPlaces looks up the members. sleepable was in bpf_prog_aux before 6.8. frags is new in 5.18;
// before, no program has it.
func findPlaces(spec *btf.Spec) (*places, error) {
	p := &places{}
	for _, want := range []struct {
		to      *member
		in      *string
		name    string
		structs []string
	}{
		{&p.files, nil, "files", []string{"task_struct"}},
		{&p.fdt, nil, "fdt", []string{"files_struct"}},
		{&p.fds, nil, "fd", []string{"fdtable"}},
		{&p.private, nil, "private_data", []string{"file"}},
		{&p.aux, nil, "aux", []string{"bpf_prog"}},
		{&p.attachType, nil, "expected_attach_type", []string{"bpf_prog"}},
		{&p.sleepable, &p.sleepableIn, "sleepable", []string{"bpf_prog", "bpf_prog_aux"}},
		{&p.frags, &p.fragsIn, "xdp_has_frags", []string{"bpf_prog_aux"}},
		{&p.numa, nil, "numa_node", []string{"bpf_map"}},
		{&p.inner, nil, "inner_map_meta", []string{"bpf_map"}},
		{&p.mapType, nil, "map_type", []string{"bpf_map"}},
		{&p.keySize, nil, "key_size", []string{"bpf_map"}},
		{&p.valueSize, nil, "value_size", []string{"bpf_map"}},
		{&p.entries, nil, "max_entries", []string{"bpf_map"}},
		{&p.flag, nil, "map_flags", []string{"bpf_map"}},
		{&p.arenaStart, nil, "user_vm_start", []string{"bpf_arena"}},
	} {
		optional := want.to == &p.frags || want.to == &p.arenaStart
		found := false
		for _, s := range want.structs {
			id, err := spec.First(s, btf.KindStruct)
			if optional && err != nil {
				continue
			}
			if err != nil {
				return nil, err
			}
			if *want.to, found = findMember(spec, id, want.name); found {
				if want.in != nil {
					*want.in = s
				}
				break
			}
		}
		if !found && !optional {
			return nil, fmt.Errorf("struct %s has no member %s: %w", want.structs[0], want.name, btf.ErrNotFound)
		}
	}
	return p, nil
}

// findMember looks for a member in a struct and in its anonymous members.
func findMember(spec *btf.Spec, id btf.TypeID, name string) (member, bool) {
	t, err := spec.Type(id)
	if err != nil {
		return member{}, false
	}
	for _, m := range t.Members {
		switch {
		case m.Name == name:
			bits := m.BitSize
			if bits == 0 {
				size, err := spec.SizeOf(m.Type)
				if err != nil || size > 8 {
					return member{}, false
				}
				bits = 8 * size
			}
			return member{m.BitOffset, bits}, true
		case m.Name == "":
			if inner, ok := findMember(spec, m.Type, name); ok {
				return member{m.BitOffset + inner.bit, inner.bits}, true
			}
		}
	}
	return member{}, false
}

// startPeek returns the program, nil if this kernel cannot run it. The capture then has fewer
// fields.
func (k *Kernel) startPeek() *peek {
	if k.peek != nil || k.blind {
		return k.peek
	}
	// Try to load the program first: that is fast, while looking up the members is slow.
	p, err := newPeek(k.places)
	if err == nil && k.places == nil {
		spec, err2 := k.vmlinuxSpec()
		if err = err2; err == nil {
			k.places, err = findPlaces(spec)
			p.places = k.places
		}
		if err != nil {
			p.close()
		}
	}
	if err != nil {
		k.blind = true
		return nil
	}
	k.peek = p
	return p
}

func (k *Kernel) stopPeek() {
	if k.peek != nil {
		k.peek.close()
		k.peek = nil
	}
}

// peekProgram reads attributes of a program that bpf_prog_info lacks.
func (k *Kernel) peekProgram(p *Program, fd int) error {
	peek := k.startPeek()
	if peek == nil {
		return nil
	}
	prog, err := peek.object(fd)
	if err != nil {
		return err
	}
	base := map[string]uint64{"bpf_prog": prog}
	if base["bpf_prog_aux"], err = peek.field(prog, peek.places.aux); err != nil {
		return err
	}
	attachType, err := peek.field(prog, peek.places.attachType)
	if err != nil {
		return err
	}
	sleeps, err := peek.field(base[peek.places.sleepableIn], peek.places.sleepable)
	if err != nil {
		return err
	}
	sleepable, number := sleeps != 0, uint32(attachType)
	p.AttachType, p.Sleepable = &number, &sleepable
	if peek.places.fragsIn == "" {
		return nil
	}
	has, err := peek.field(base[peek.places.fragsIn], peek.places.frags)
	frags := has != 0
	p.Frags = &frags
	return err
}

// peekMap reads attributes of a map that bpf_map_info lacks.
func (k *Kernel) peekMap(m *Map, fd int) error {
	peek := k.startPeek()
	if peek == nil {
		return nil
	}
	addr, err := peek.object(fd)
	if err != nil {
		return err
	}
	numa, err := peek.field(addr, peek.places.numa)
	if err != nil {
		return err
	}
	node := int32(numa)
	m.NUMANode = &node
	if m.Type == uapi.MapArena && peek.places.arenaStart.bits != 0 {
		if m.userStart, err = peek.field(addr, peek.places.arenaStart); err != nil {
			return err
		}
	}
	inner, err := peek.field(addr, peek.places.inner)
	if err != nil || inner == 0 {
		return err
	}
	var v [5]uint64
	for i, at := range []member{peek.places.mapType, peek.places.keySize, peek.places.valueSize, peek.places.entries, peek.places.flag} {
		if v[i], err = peek.field(inner, at); err != nil {
			return err
		}
	}
	m.Inner = fmt.Sprintf("%s, key_size %d, value_size %d, max_entries %d, flags %#x", uapi.MapType(v[0]), v[1], v[2], v[3], v[4])
	return nil
}
