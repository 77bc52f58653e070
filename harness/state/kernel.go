package state

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// Kernel answers questions about the running kernel's symbols and BTF, and caches the answers. It
// reads them on demand, because both take long under emulation. It is not safe for concurrent use.
type Kernel struct {
	proc, sys string // "/proc" and "/sys", except in tests

	cpus    int
	base    uint64                // address of __bpf_call_base, 0 until it is known
	names   map[uint64]string     // names of symbols, by address
	lookup  *lookup               // set during a capture that needs it
	slow    bool                  // this kernel cannot run lookup
	peek    *peek                 // set during a capture
	places  map[string]member     // of peek
	blind   bool                  // this kernel cannot run peek
	symbols *symbols              // only used without lookup
	specs   map[uint32]*kernelBTF // by BTF object id
	vmlinux *btf.Spec
	types   func() (*btf.Spec, error) // reads vmlinux
}

// NewKernel returns a Kernel with an empty cache. It needs /proc and /sys.
func NewKernel() *Kernel {
	k := &Kernel{proc: "/proc", sys: "/sys", names: make(map[uint64]string), specs: make(map[uint32]*kernelBTF)}
	k.types = k.readVmlinux
	return k
}

// ShareTypes makes k take the BTF of vmlinux from types, which may have read it already; it is
// several megabytes.
func (k *Kernel) ShareTypes(types func() (*btf.Spec, error)) { k.types = types }

// Preload reads the slow parts now: the BTF of the kernel and, if lookup is not available, its
// symbols. In a guest that is saved afterwards, no case spends that time.
func (k *Kernel) Preload() error {
	if !k.startLookup() {
		if err := k.loadSymbols(); err != nil {
			return err
		}
	}
	k.stopLookup()
	_, err := k.vmlinuxSpec()
	return err
}

// startLookup starts the lookup and reports whether it is available. stopLookup must follow,
// because the lookup's program must not outlive a capture.
func (k *Kernel) startLookup() bool {
	if k.lookup != nil {
		return true
	}
	if k.slow {
		return false
	}
	l, err := newLookup()
	if err != nil {
		// An old kernel, or one that restricts symbols. In the latter case reading all symbols will
		// fail with the reason.
		k.slow = true
		return false
	}
	k.lookup, k.base = l, l.base
	return true
}

func (k *Kernel) stopLookup() {
	if k.lookup != nil {
		k.lookup.close()
		k.lookup = nil
	}
}

// possibleCPUs returns the number of values in an element of a per-CPU map.
func (k *Kernel) possibleCPUs() (int, error) {
	if k.cpus > 0 {
		return k.cpus, nil
	}
	b, err := os.ReadFile(filepath.Join(k.sys, "devices/system/cpu/possible"))
	if err != nil {
		return 0, fmt.Errorf("possible CPUs (is /sys mounted?): %w", err)
	}
	n, err := lastCPU(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, err
	}
	k.cpus = n + 1
	return k.cpus, nil
}

// lastCPU returns the highest CPU in a list like "0-3,8". The kernel sizes per-CPU values by the
// number of possible CPUs, which are numbered without gaps.
func lastCPU(list string) (int, error) {
	last := list[strings.LastIndexAny(list, ",-")+1:]
	n, err := strconv.Atoi(last)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("possible CPUs: cannot read the list %q", list)
	}
	return n, nil
}

// symbols are those in /proc/kallsyms, by address.
type symbols struct {
	list []symbol
	text []byte // type and name and, in brackets, module of each symbol, by line
	base uint64 // of __bpf_call_base

	modules string // /proc/modules when the symbols were read
}

// symbol is an address, and where its line of text starts.
type symbol struct {
	addr uint64
	line uint32
}

func (k *Kernel) loadSymbols() error {
	if k.symbols != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(k.proc, "kallsyms"))
	if err != nil {
		return fmt.Errorf("kernel symbols (is /proc mounted?): %w", err)
	}
	s, err := parseSymbols(text)
	if err != nil {
		return err
	}
	s.modules = k.moduleList()
	k.symbols, k.base = s, s.base
	return nil
}

// parseSymbols indexes text in the format of /proc/kallsyms and keeps it.
func parseSymbols(text []byte) (*symbols, error) {
	if len(text) > math.MaxUint32 {
		return nil, fmt.Errorf("kernel symbols: %d bytes are too many", len(text))
	}
	s := &symbols{list: make([]symbol, 0, bytes.Count(text, []byte{'\n'})), text: text}
	for pos := 0; pos < len(text); {
		line := text[pos:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		addr, digits := parseHex(line)
		// Skip loaded BPF programs, whose names differ in each load.
		if digits > 0 && digits+3 < len(line) && !bytes.HasSuffix(line, []byte("[bpf]")) {
			s.list = append(s.list, symbol{addr, uint32(pos + digits + 1)})
			if s.base == 0 && string(line[digits+3:]) == "__bpf_call_base" {
				s.base = addr
			}
		}
		pos += len(line) + 1
	}
	if s.base == 0 {
		return nil, errors.New("kernel symbols: no address of __bpf_call_base: kallsyms is empty or restricted (kernel.kptr_restrict)")
	}
	slices.SortStableFunc(s.list, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	return s, nil
}

func parseHex(line []byte) (v uint64, digits int) {
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return v, digits
		}
		digits++
	}
	return v, digits
}

// name returns the name and module of the symbol at exactly addr. Of several symbols it returns the
// first global one.
func (s *symbols) name(addr uint64) (string, bool) {
	best := ""
	first, _ := slices.BinarySearchFunc(s.list, addr, func(s symbol, addr uint64) int { return cmp.Compare(s.addr, addr) })
	for _, at := range s.list[first:] {
		if at.addr != addr {
			break
		}
		line, _, _ := bytes.Cut(s.text[at.line:], []byte{'\n'})
		if len(line) < 3 || bytes.HasPrefix(line[2:], []byte("__pfx_")) {
			continue
		}
		global := line[0] >= 'A' && line[0] <= 'Z'
		if best == "" || global {
			best = string(line[2:])
		}
		if global {
			break
		}
	}
	if best == "" {
		return "", false
	}
	name, module, ok := strings.Cut(best, "\t")
	if !ok {
		module = "[vmlinux]"
	}
	return name + " " + module, true
}

// symbol returns the name of the symbol at addr: "bpf_task_acquire [vmlinux]".
func (k *Kernel) symbol(addr uint64) (string, bool, error) {
	if name, ok := k.names[addr]; ok {
		return name, true, nil
	}
	name, ok, err := k.askSymbol(addr)
	if ok {
		k.names[addr] = name
	}
	return name, ok, err
}

func (k *Kernel) askSymbol(addr uint64) (string, bool, error) {
	if k.startLookup() {
		return k.lookup.symbol(addr)
	}
	if err := k.loadSymbols(); err != nil {
		return "", false, err
	}
	name, ok := k.symbols.name(addr)
	if !ok && k.moduleList() != k.symbols.modules {
		// A module was loaded in the meantime.
		k.symbols = nil
		if err := k.loadSymbols(); err != nil {
			return "", false, err
		}
		name, ok = k.symbols.name(addr)
	}
	return name, ok, nil
}

// isAddress reports whether v may be an address of kernel memory. Between the two lowest addresses
// of memory it checks how long addresses are, so that a constant of the program is not taken for an
// address.
func (k *Kernel) isAddress(v uint64) bool {
	if v < memoryStart5 || v >= memoryStart4 {
		return v >= memoryStart4
	}
	if addresses.longest == "" {
		return true
	}
	// The flag is absent if the kernel does not use the feature of the CPU.
	info, err := os.ReadFile(filepath.Join(k.proc, "cpuinfo"))
	return err != nil || bytes.Contains(info, []byte(addresses.longest))
}

// moduleList returns /proc/modules, empty if the kernel has no modules.
func (k *Kernel) moduleList() string {
	b, err := os.ReadFile(filepath.Join(k.proc, "modules"))
	if err != nil {
		return ""
	}
	return string(b)
}

// callTarget names the target of a call after verification: imm is the distance from
// __bpf_call_base.
func (k *Kernel) callTarget(imm int32) (string, bool, error) {
	if k.base == 0 && !k.startLookup() {
		if err := k.loadSymbols(); err != nil {
			return "", false, err
		}
	}
	return k.symbol(k.base + uint64(int64(imm)))
}

// kernelBTF is a BTF object of the kernel.
type kernelBTF struct {
	name string // "vmlinux", a module, "bpf" for the BTF of a program
	spec *btf.Spec
}

func (k *Kernel) vmlinuxSpec() (*btf.Spec, error) {
	if k.vmlinux != nil {
		return k.vmlinux, nil
	}
	spec, err := k.types()
	if err != nil {
		return nil, fmt.Errorf("kernel BTF (CONFIG_DEBUG_INFO_BTF, /sys mounted?): %w", err)
	}
	k.vmlinux = spec
	return spec, nil
}

func (k *Kernel) readVmlinux() (*btf.Spec, error) {
	raw, err := os.ReadFile(filepath.Join(k.sys, "kernel/btf/vmlinux"))
	if err != nil {
		return nil, err
	}
	return btf.ParseKernel(raw)
}

// btfByID returns the BTF object with this id. It caches objects of the kernel, but not those of
// programs, which come and go.
func (k *Kernel) btfByID(id uint32) (*kernelBTF, error) {
	if b := k.specs[id]; b != nil {
		return b, nil
	}
	fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, id)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(fd)
	info, name, _, err := bpfsys.GetBTFInfo(fd, false)
	if err != nil {
		return nil, err
	}
	b := &kernelBTF{name: name}
	switch {
	case name == "vmlinux" && info.KernelBTF != 0:
		b.spec, err = k.vmlinuxSpec()
	case info.KernelBTF != 0:
		b.spec, err = k.moduleSpec(fd)
	default:
		b.name = "bpf"
		b.spec, _, err = specByFD(fd)
		return b, err
	}
	if err != nil {
		return nil, fmt.Errorf("BTF of %s: %w", name, err)
	}
	k.specs[id] = b
	return b, nil
}

func (k *Kernel) moduleSpec(fd int) (*btf.Spec, error) {
	base, err := k.vmlinuxSpec()
	if err != nil {
		return nil, err
	}
	_, _, raw, err := bpfsys.GetBTFInfo(fd, true)
	if err != nil {
		return nil, err
	}
	return btf.ParseSplit(raw, base)
}

// specByFD reads the BTF of a program or map, which the kernel has validated.
func specByFD(fd int) (*btf.Spec, []byte, error) {
	_, _, raw, err := bpfsys.GetBTFInfo(fd, true)
	if err != nil {
		return nil, nil, err
	}
	spec, err := btf.ParseKernel(raw)
	return spec, raw, err
}

// typeName names a type of the kernel: "vmlinux:func do_unlinkat#36123". It includes the id because
// a name need not be unique. The id depends on the kernel's image, not on the boot.
func (k *Kernel) typeName(object, id uint32) (string, error) {
	b, err := k.btfByID(object)
	if err != nil {
		return "", err
	}
	return b.typeName(id), nil
}

func (b *kernelBTF) typeName(id uint32) string {
	t := btf.TypeID(id)
	return fmt.Sprintf("%s:%s %s#%d", b.name, b.spec.KindOf(t), b.spec.TypeName(t), id)
}
