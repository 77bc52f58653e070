package state

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// lookup is a small BPF program that asks the kernel for names of addresses.
// /proc/kallsyms would answer too, but reading all of it takes a guest under
// emulation two seconds. It needs 5.16 (bpf_kallsyms_lookup_name).
type lookup struct {
	prog, strings int    // file descriptors
	base          uint64 // address of __bpf_call_base
}

// Its context: the address that is asked for, 0 for that of __bpf_call_base, then
// the text that is the answer.
const (
	lookupText = 8
	lookupSize = lookupText + lookupLen
	lookupLen  = 128 // bytes of an answer
)

// Contents of its map: strings that helpers insist on finding in a read-only map.
const (
	lookupFormat = "%pS\x00\x00\x00\x00\x00"
	lookupBase   = "__bpf_call_base\x00"
)

// Numbers of helpers (enum bpf_func_id), map and program types.
const (
	helperSnprintf       = 165 // 5.13
	helperKallsymsLookup = 179 // 5.16
)

// newLookup loads the program. The caller closes it.
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
	if err := l.load(); err != nil {
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

func (l *lookup) load() (err error) {
	l.prog, err = loadSyscall("state_lookup", l.insns())
	return err
}

// loadSyscall loads a program that a system call runs (5.14), and returns its fd.
func loadSyscall(name string, insns []byte) (int, error) {
	var m bpfsys.Memory
	defer m.Release()
	return bpfsys.Call(bpfsys.ProgLoad, &bpfsys.ProgLoadAttr{
		Type: uapi.ProgSyscall, Insns: m.At(insns), InsnCount: uint32(len(insns) / insn.Size), License: m.String("GPL"),
		Flags: unix.BPF_F_SLEEPABLE, Name: bpfsys.Name(name),
	})
}

// insns is the program. r6 is the context; on the stack is the address (or the
// place for it) at -8, and below it the text.
func (l *lookup) insns() []byte {
	const addr, buffer = -8, -8 - lookupLen
	var findBase assembler
	findBase.stringAt(1, l.strings, len(lookupFormat))
	findBase.set(2, int32(len(lookupBase)))
	findBase.set(3, 0)
	findBase.stackAt(4, addr)
	findBase.emit(insn.Call, 0, 0, 0, helperKallsymsLookup)
	findBase.load(1, 10, addr)
	findBase.store(6, 0, 1)
	findBase.emit(insn.Exit, 0, 0, 0, 0)

	var p assembler
	p.emit(0xbf, 6, 1, 0, 0) // r6 = r1
	p.load(2, 6, 0)
	p.store(10, addr, 2)
	p.emit(0x55, 2, 0, int16(len(findBase)/insn.Size), 0) // if r2 != 0 goto after findBase
	p = append(p, findBase...)
	p.set(0, 0)
	for off := int16(0); off < lookupLen; off += 8 {
		p.store(10, buffer+off, 0)
	}
	p.stackAt(1, buffer)
	p.set(2, lookupLen)
	p.stringAt(3, l.strings, 0)
	p.stackAt(4, addr)
	p.set(5, 8)
	p.emit(insn.Call, 0, 0, 0, helperSnprintf)
	for off := int16(0); off < lookupLen; off += 8 {
		p.load(1, 10, buffer+off)
		p.store(6, lookupText+off, 1)
	}
	p.emit(insn.Exit, 0, 0, 0, 0)
	return p
}

// assembler appends instructions, by the opcodes of uapi/linux/bpf_common.h.
type assembler []byte

func (p *assembler) emit(op, dst, src uint8, off int16, imm int32) {
	*p = append(*p, op, dst|src<<4)
	*p = le.AppendUint16(*p, uint16(off))
	*p = le.AppendUint32(*p, uint32(imm))
}

func (p *assembler) set(dst uint8, imm int32)              { p.emit(0xb7, dst, 0, 0, imm) }
func (p *assembler) load(dst, src uint8, off int16)        { p.emit(0x79, dst, src, off, 0) }
func (p *assembler) store(dst uint8, off int16, src uint8) { p.emit(0x7b, dst, src, off, 0) }

func (p *assembler) stackAt(dst uint8, off int32) {
	p.emit(0xbf, dst, 10, 0, 0)
	p.emit(0x07, dst, 0, 0, off)
}

func (p *assembler) stringAt(dst uint8, fd, off int) {
	p.emit(insn.LdImm64, dst, insn.PseudoMapValue, 0, int32(fd))
	p.emit(0, 0, 0, 0, int32(off))
}

// run asks for addr, or for the address of __bpf_call_base if it is 0.
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

// symbol names the symbol that starts at addr: "bpf_task_acquire [vmlinux]".
func (l *lookup) symbol(addr uint64) (string, bool, error) {
	_, text, err := l.run(addr)
	if err != nil {
		return "", false, fmt.Errorf("symbol at %#x: %w", addr, err)
	}
	name, ok := symbolAtStart(text)
	return name, ok, nil
}

// symbolAtStart reads what the kernel's %pS prints, "name+0x0/0x40 [module]", if
// the address is where the symbol starts.
func symbolAtStart(text string) (string, bool) {
	name, rest, ok := strings.Cut(text, "+0x0/")
	if !ok {
		return "", false
	}
	_, module, ok := strings.Cut(rest, " ")
	if !ok {
		return name + " [vmlinux]", true
	}
	return name + " " + module, module != "[bpf]" // what is loaded as BPF has another name next time
}
