package state

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// lookup is a small BPF program that looks up the name of an address. /proc/kallsyms has the names,
// too, but under emulation a guest takes two seconds to read it. lookup needs 5.16
// (bpf_kallsyms_lookup_name).
type lookup struct {
	prog, strings int    // file descriptors
	base          uint64 // address of __bpf_call_base
}

// Layout of its context: the address, or 0 for that of __bpf_call_base, then the resulting text.
const (
	lookupText = 8
	lookupSize = lookupText + lookupLen
	lookupLen  = 128 // size of the text in bytes
)

// Contents of its map: strings that helpers require to be in a read-only map.
const (
	lookupFormat = "%pS\x00\x00\x00\x00\x00"
	lookupBase   = "__bpf_call_base\x00"
)

// newLookup loads the program. The caller must close it.
func newLookup() (*lookup, error) {
	l := &lookup{prog: -1, strings: -1}
	if err := l.start(); err != nil {
		l.close()
		return nil, fmt.Errorf("lookup of symbols: %w", err)
	}
	return l, nil
}

func (l *lookup) start() (err error) {
	if err := l.createStrings(); err != nil {
		return err
	}
	if l.prog, err = loadSyscall("state_lookup", l.program()); err != nil {
		return err
	}
	l.base, _, err = l.run(0)
	return err
}

func (l *lookup) close() {
	for _, fd := range []int{l.prog, l.strings} {
		if fd >= 0 {
			bpfsys.Close(fd)
		}
	}
}

func (l *lookup) createStrings() (err error) {
	value := []byte(lookupFormat + lookupBase)
	l.strings, err = bpfsys.Call(bpfsys.MapCreate, &bpfsys.MapCreateAttr{
		Type: uapi.MapArray, KeySize: 4, ValueSize: uint32(len(value)), MaxEntries: 1, Flags: unix.BPF_F_RDONLY_PROG,
		Name: bpfsys.Name("state.strings"),
	})
	if err != nil {
		return err
	}
	if err := bpfsys.UpdateElem(l.strings, make([]byte, 4), value, 0); err != nil {
		return err
	}
	return bpfsys.Freeze(l.strings)
}

// loadSyscall loads a program of type syscall (5.14), and returns its fd.
func loadSyscall(name string, program asm.Instructions) (int, error) {
	var insns bytes.Buffer
	if err := program.Marshal(&insns, le); err != nil {
		return -1, err
	}
	var m bpfsys.Memory
	defer m.Release()
	return bpfsys.Call(bpfsys.ProgLoad, &bpfsys.ProgLoadAttr{
		Type: uapi.ProgSyscall, Insns: m.At(insns.Bytes()), InsnCount: uint32(insns.Len() / insn.Size), License: m.String("GPL"),
		Flags: unix.BPF_F_SLEEPABLE, Name: bpfsys.Name(name),
	})
}

// program keeps the context in r6. The address, or the place for it, is at fp-8, and the text below
// it.
func (l *lookup) program() asm.Instructions {
	const addr, buffer = -8, -8 - lookupLen
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord),
		asm.StoreMem(asm.RFP, addr, asm.R2, asm.DWord),
		asm.JNE.Imm(asm.R2, 0, "name"),

		asm.LoadMapValue(asm.R1, l.strings, uint32(len(lookupFormat))),
		asm.Mov.Imm(asm.R2, int32(len(lookupBase))),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Reg(asm.R4, asm.RFP),
		asm.Add.Imm(asm.R4, addr),
		asm.FnKallsymsLookupName.Call(), // 5.16
		asm.LoadMem(asm.R1, asm.RFP, addr, asm.DWord),
		asm.StoreMem(asm.R6, 0, asm.R1, asm.DWord),
		asm.Return(),

		asm.Mov.Imm(asm.R0, 0).WithSymbol("name"),
	}
	for off := int16(0); off < lookupLen; off += 8 {
		p = append(p, asm.StoreMem(asm.RFP, buffer+off, asm.R0, asm.DWord))
	}
	p = append(p,
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, buffer),
		asm.Mov.Imm(asm.R2, lookupLen),
		asm.LoadMapValue(asm.R3, l.strings, 0),
		asm.Mov.Reg(asm.R4, asm.RFP),
		asm.Add.Imm(asm.R4, addr),
		asm.Mov.Imm(asm.R5, 8),
		asm.FnSnprintf.Call(), // 5.13
	)
	for off := int16(0); off < lookupLen; off += 8 {
		p = append(p, asm.LoadMem(asm.R1, asm.RFP, buffer+off, asm.DWord), asm.StoreMem(asm.R6, lookupText+off, asm.R1, asm.DWord))
	}
	return append(p, asm.Return())
}

// run looks up addr, or the address of __bpf_call_base if it is 0.
func (l *lookup) run(addr uint64) (base uint64, text string, err error) {
	ctx := le.AppendUint64(nil, addr)
	ctx = append(ctx, make([]byte, lookupLen)...)
	ret, err := bpfsys.RunLoader(l.prog, ctx)
	if err != nil {
		return 0, "", err
	}
	if ret < 0 {
		return 0, "", unix.Errno(-ret)
	}
	return le.Uint64(ctx), bpfsys.CString(ctx[lookupText:]), nil
}

// symbol returns the name of the symbol that starts at addr: "bpf_task_acquire [vmlinux]".
func (l *lookup) symbol(addr uint64) (string, bool, error) {
	_, text, err := l.run(addr)
	if err != nil {
		return "", false, fmt.Errorf("symbol at %#x: %w", addr, err)
	}
	name, ok := symbolAtStart(text)
	return name, ok, nil
}

// symbolAtStart parses the kernel's %pS, "name+0x0/0x40 [module]". It returns false unless the
// address is the start of the symbol.
func symbolAtStart(text string) (string, bool) {
	name, rest, ok := strings.Cut(text, "+0x0/")
	if !ok {
		return "", false
	}
	_, module, ok := strings.Cut(rest, " ")
	if !ok {
		return name + " [vmlinux]", true
	}
	return name + " " + module, module != "[bpf]" // names of BPF programs differ in each load
}
