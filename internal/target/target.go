package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// Target is the running kernel. It caches what it finds out.
type Target struct {
	mu      sync.Mutex
	vmlinux *btf.Spec
	noBTF   error
	modules []module
	listed  bool
	symbols map[string]symbol
	needs   map[string]error // by probed capability: why the kernel lacks it

	// Answers about the kernel, nil if not probed yet.
	uprobeMulti, farValues *bool
}

const vmlinuxTypes = "/sys/kernel/btf/vmlinux"

type module struct {
	id   uint32 // of the BTF object
	name string
	spec *btf.Spec // read on demand
}

// New returns the running kernel. It reads nothing yet.
func New() *Target { return &Target{} }

// Vmlinux returns the BTF of the kernel itself, from /sys/kernel/btf/vmlinux (5.4,
// CONFIG_DEBUG_INFO_BTF).
func (t *Target) Vmlinux() (*btf.Spec, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.vmlinuxLocked()
}

func (t *Target) vmlinuxLocked() (*btf.Spec, error) {
	if t.vmlinux != nil || t.noBTF != nil {
		return t.vmlinux, t.noBTF
	}
	var err error
	raw := mapped()
	if raw == nil {
		raw, err = os.ReadFile(vmlinuxTypes)
	}
	if err == nil {
		t.vmlinux, err = btf.ParseKernel(raw)
	}
	if err != nil {
		t.noBTF = fmt.Errorf("types of the running kernel: %w", err)
	}
	return t.vmlinux, t.noBTF
}

// mapped maps the kernel's types, which works since 6.16 (a539e2a6d51d); before, it returns nil.
// Reading five megabytes into fresh memory takes longer than the rest of a load. The mapping shares
// the kernel's own pages and stays for ever, because names of types point into it.
var mapped = sync.OnceValue(func() []byte {
	f, err := os.Open(vmlinuxTypes)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	raw, _ := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	return raw
})

// listModules finds the BTF objects of modules, in the order of their ids, in which the kernel
// searches them. Before 5.11 modules have no BTF, and BTF objects no names.
func (t *Target) listModules() error {
	if t.listed {
		return nil
	}
	t.modules = nil // left by an attempt that failed
	ids, err := bpfsys.IDs(bpfsys.BTFGetNextID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, id)
		if errors.Is(err, unix.ENOENT) {
			continue // unloaded since it was listed
		}
		if err != nil {
			return err
		}
		info, name, _, err := bpfsys.GetBTFInfo(fd, false)
		bpfsys.Close(fd)
		if err != nil {
			return err
		}
		if info.KernelBTF != 0 && name != "vmlinux" {
			t.modules = append(t.modules, module{id: id, name: name})
		}
	}
	t.listed = true
	return nil
}

func (t *Target) moduleSpec(m *module) (*btf.Spec, error) {
	if m.spec != nil {
		return m.spec, nil
	}
	base, err := t.vmlinuxLocked()
	if err != nil {
		return nil, err
	}
	fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, m.id)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(fd)
	_, _, raw, err := bpfsys.GetBTFInfo(fd, true)
	if err != nil {
		return nil, err
	}
	m.spec, err = btf.ParseSplit(raw, base)
	if err != nil {
		return nil, fmt.Errorf("types of module %s: %w", m.name, err)
	}
	return m.spec, nil
}

// FindType looks up a kernel type by name and kind (BTF_KIND_*), in vmlinux first and then in the
// modules, or, if only is not empty, in that module or in "vmlinux". It returns the type id and, if
// a module has it, a new fd of the module's BTF, else -1. The error is ENOENT if there is no such
// type.
func (t *Target) FindType(name string, kind uint32, only string) (uint32, int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	vmlinux, err := t.vmlinuxLocked()
	if err != nil {
		return 0, -1, err
	}
	if only == "" || only == "vmlinux" {
		if id, err := vmlinux.First(name, btf.Kind(kind)); err == nil {
			return uint32(id), -1, nil
		}
	}
	if only != "vmlinux" {
		if err := t.listModules(); err != nil {
			return 0, -1, err
		}
		for i := range t.modules {
			m := &t.modules[i]
			if only != "" && m.name != only {
				continue
			}
			spec, err := t.moduleSpec(m)
			if err != nil {
				return 0, -1, err
			}
			for id := range spec.FindByName(name, btf.Kind(kind)) {
				if id < spec.FirstID() {
					continue
				}
				fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, m.id)
				return uint32(id), fd, err
			}
		}
	}
	return 0, -1, unix.ENOENT
}

// specOf returns the Spec of the module BTF fd, or vmlinux's for -1.
func (t *Target) specOf(fd int) (*btf.Spec, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd < 0 {
		return t.vmlinuxLocked()
	}
	info, _, _, err := bpfsys.GetBTFInfo(fd, false)
	if err != nil {
		return nil, err
	}
	for i := range t.modules {
		if t.modules[i].id == info.ID {
			return t.moduleSpec(&t.modules[i])
		}
	}
	return nil, fmt.Errorf("BTF object %d: %w", info.ID, unix.ENOENT)
}

// Address looks up a symbol in /proc/kallsyms. The error is ENOENT if there is none of this name,
// EPERM if addresses are hidden from the caller (kernel.kptr_restrict).
func (t *Target) Address(name string) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.symbols[name]
	if !ok {
		addr, err := findSymbol(name)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return 0, err
		}
		if t.symbols == nil {
			t.symbols = make(map[string]symbol)
		}
		s = symbol{addr, err == nil}
		t.symbols[name] = s
	}
	if !s.found {
		return 0, unix.ENOENT
	}
	if s.addr == 0 && name != anyText {
		// If addresses are hidden, all are 0. But some symbols really are at 0, such as the start
		// of per-CPU data.
		if text, err := findSymbol(anyText); err != nil || text == 0 {
			return 0, unix.EPERM
		}
	}
	return s.addr, nil
}

// symbol is a symbol's entry in /proc/kallsyms.
type symbol struct {
	addr  uint64
	found bool
}

// anyText is a symbol that every kernel has, at another address than 0.
const anyText = "_stext"

// findSymbol reads /proc/kallsyms up to the first symbol of this name, which the kernel finds, too.
// The file has 200,000 lines, and splitting all of them takes seconds in a slow guest. So it splits
// only lines that contain the name.
func findSymbol(name string) (uint64, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, fmt.Errorf("kernel symbols: %w", err)
	}
	defer f.Close()
	needle := []byte(" " + name)
	buf := make([]byte, 1<<20)
	kept := 0 // length of the incomplete line at the start of buf
	for {
		n, err := f.Read(buf[kept:])
		full := buf[:kept+n]
		end := bytes.LastIndexByte(full, '\n') + 1
		if addr, ok := symbolIn(full[:end], needle); ok {
			return addr, nil
		}
		if err == io.EOF {
			return 0, unix.ENOENT
		}
		if err != nil {
			return 0, fmt.Errorf("kernel symbols: %w", err)
		}
		kept = copy(buf, full[end:])
	}
}

// symbolIn looks for "ADDRESS TYPE NAME" or "ADDRESS TYPE NAME\t[MODULE]".
func symbolIn(lines, needle []byte) (uint64, bool) {
	for {
		i := bytes.Index(lines, needle)
		if i < 0 {
			return 0, false
		}
		rest := lines[i+len(needle):]
		if len(rest) > 0 && (rest[0] == '\n' || rest[0] == '\t') {
			line := lines[bytes.LastIndexByte(lines[:i], '\n')+1 : i]
			hex, _, _ := bytes.Cut(line, []byte(" "))
			if addr, err := strconv.ParseUint(string(hex), 16, 64); err == nil {
				return addr, true
			}
		}
		lines = rest
	}
}

// CPUs returns the number of possible CPUs, from /sys/devices/system/cpu/possible.
func CPUs() (uint32, error) {
	const path = "/sys/devices/system/cpu/possible"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("number of CPUs: %w", err)
	}
	n := uint32(0)
	for _, part := range strings.Split(strings.TrimSpace(string(b)), ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 31)
		z, err2 := strconv.ParseUint(last, 10, 31)
		if err := errors.Join(err1, err2); err != nil || z < a {
			return 0, fmt.Errorf("number of CPUs: %s says %q", path, b)
		}
		n += uint32(z - a + 1)
	}
	return n, nil
}

// RingSize rounds the size in bytes of a ring buffer up to what the kernel accepts: a power of two
// of whole pages (kernel/bpf/ringbuf.c).
func RingSize(size uint32) uint32 {
	if size == 0 || size > 1<<31 {
		return size
	}
	page := uint32(os.Getpagesize())
	return page << bits.Len32((size-1)/page)
}
