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
	prog   int               // file descriptor
	places map[string]member // by name
	err    error             // of the first read that failed; nothing is read after it
}

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

// read returns the 8 bytes at an address, 0 after an error.
func (p *peek) read(addr uint64) uint64 {
	if p.err != nil {
		return 0
	}
	ctx := le.AppendUint64(nil, addr)
	ctx = append(ctx, make([]byte, 8)...)
	ret, err := bpfsys.RunLoader(p.prog, ctx)
	switch {
	case err != nil:
		p.err = fmt.Errorf("peek: %w", err)
		return 0
	case ret < 0:
		p.err = fmt.Errorf("peek at %#x: %w", addr, unix.Errno(-ret))
		return 0
	}
	return le.Uint64(ctx[8:])
}

// field reads a member of the struct at base.
func (p *peek) field(base uint64, name string) uint64 {
	at := p.places[name]
	v := p.read(base+uint64(at.bit/8)) >> (at.bit % 8)
	if at.bits < 64 {
		v &= 1<<at.bits - 1
	}
	return v
}

// object returns the address of the struct bpf_prog or bpf_map of a file descriptor of this
// process.
func (p *peek) object(fd int) uint64 {
	addr := p.read(0)
	for _, name := range []string{"files", "fdt", "fd"} {
		addr = p.field(addr, name)
	}
	return p.field(p.read(addr+8*uint64(fd)), "private_data")
}

// member is the struct that has a member, and the member's offset and size in bits.
type member struct {
	in        string
	bit, bits uint32
}

// peeked are the members that peek reads, and the structs that may have them.
var peeked = []struct {
	name     string
	structs  []string
	optional bool
}{
	{name: "files", structs: []string{"task_struct"}},
	{name: "fdt", structs: []string{"files_struct"}},
	{name: "fd", structs: []string{"fdtable"}},
	{name: "private_data", structs: []string{"file"}},
	{name: "aux", structs: []string{"bpf_prog"}},
	{name: "expected_attach_type", structs: []string{"bpf_prog"}},
	{name: "sleepable", structs: []string{"bpf_prog", "bpf_prog_aux"}},         // in bpf_prog_aux before 6.8
	{name: "xdp_has_frags", structs: []string{"bpf_prog_aux"}, optional: true}, // 5.18; before, no program has it
	{name: "numa_node", structs: []string{"bpf_map"}},
	{name: "inner_map_meta", structs: []string{"bpf_map"}},
	{name: "map_type", structs: []string{"bpf_map"}},
	{name: "key_size", structs: []string{"bpf_map"}},
	{name: "value_size", structs: []string{"bpf_map"}},
	{name: "max_entries", structs: []string{"bpf_map"}},
	{name: "map_flags", structs: []string{"bpf_map"}},
	{name: "user_vm_start", structs: []string{"bpf_arena"}, optional: true}, // 6.9; bpf_arena begins with a bpf_map
}

// findPlaces looks up the members that peek reads, by name.
func findPlaces(spec *btf.Spec) (map[string]member, error) {
	places := make(map[string]member)
	for _, want := range peeked {
		found := false
		for _, s := range want.structs {
			id, err := spec.First(s, btf.KindStruct)
			if want.optional && err != nil {
				continue
			}
			if err != nil {
				return nil, err
			}
			var m member
			if m, found = findMember(spec, id, want.name); found {
				m.in = s
				places[want.name] = m
				break
			}
		}
		if !found && !want.optional {
			return nil, fmt.Errorf("struct %s has no member %s: %w", want.structs[0], want.name, btf.ErrNotFound)
		}
	}
	return places, nil
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
			return member{bit: m.BitOffset, bits: bits}, true
		case m.Name == "":
			if inner, ok := findMember(spec, m.Type, name); ok {
				return member{bit: m.BitOffset + inner.bit, bits: inner.bits}, true
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
	prog, err := loadSyscall("state_peek", peekProgram())
	if err != nil {
		k.blind = true
		return nil
	}
	if k.places == nil {
		var spec *btf.Spec
		if spec, err = k.vmlinuxSpec(); err == nil {
			k.places, err = findPlaces(spec)
		}
		if err != nil {
			bpfsys.Close(prog)
			k.blind = true
			return nil
		}
	}
	k.peek = &peek{prog: prog, places: k.places}
	return k.peek
}

func (k *Kernel) stopPeek() {
	if k.peek != nil {
		bpfsys.Close(k.peek.prog)
		k.peek = nil
	}
}

// peekProgram reads attributes of a program that bpf_prog_info lacks.
func (k *Kernel) peekProgram(p *Program, fd int) error {
	peek := k.startPeek()
	if peek == nil {
		return nil
	}
	prog := peek.object(fd)
	base := map[string]uint64{"bpf_prog": prog, "bpf_prog_aux": peek.field(prog, "aux")}
	attachType := uint32(peek.field(prog, "expected_attach_type"))
	sleepable := peek.field(base[peek.places["sleepable"].in], "sleepable") != 0
	p.AttachType, p.Sleepable = &attachType, &sleepable
	if at, ok := peek.places["xdp_has_frags"]; ok {
		frags := peek.field(base[at.in], "xdp_has_frags") != 0
		p.Frags = &frags
	}
	return peek.err
}

// peekMap reads attributes of a map that bpf_map_info lacks.
func (k *Kernel) peekMap(m *Map, fd int) error {
	peek := k.startPeek()
	if peek == nil {
		return nil
	}
	addr := peek.object(fd)
	node := int32(peek.field(addr, "numa_node"))
	m.NUMANode = &node
	if _, ok := peek.places["user_vm_start"]; ok && m.Type == uapi.MapArena {
		m.userStart = peek.field(addr, "user_vm_start")
	}
	if inner := peek.field(addr, "inner_map_meta"); inner != 0 {
		of := func(name string) uint64 { return peek.field(inner, name) }
		m.Inner = fmt.Sprintf("%s, key_size %d, value_size %d, max_entries %d, flags %#x",
			uapi.MapType(of("map_type")), of("key_size"), of("value_size"), of("max_entries"), of("map_flags"))
	}
	return peek.err
}
