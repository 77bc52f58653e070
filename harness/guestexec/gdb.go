package guestexec

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/elffile"
)

// Debugger tells gdb how to attach to a guest that waits for it: see guest.Config.Debugger.
type Debugger struct {
	socket  *os.File
	address string
	symbols string
	of      *arch.Arch
	exact   bool // the symbol file has types and line numbers
	release string
}

// OpenDebugger prepares debugging of a guest of this configuration. The symbols come from the
// kernel's build or from the distribution's debug package, if this machine has them. Otherwise
// OpenDebugger starts a guest without KASLR and reads /proc/kallsyms there. The caller closes the
// Debugger.
func OpenDebugger(ctx context.Context, c *guest.Config) (_ *Debugger, err error) {
	of, err := arch.Parse(c.Kernel.Arch)
	if err != nil {
		return nil, fmt.Errorf("gdb: %w", err)
	}
	d := &Debugger{release: c.Kernel.Release, of: of}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.findSymbols(ctx, c); err != nil {
		return nil, fmt.Errorf("symbols for gdb: %w", err)
	}
	// The kernel chooses a free port, and QEMU inherits it, so no other process can take it in
	// between.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("gdb: %w", err)
	}
	defer l.Close()
	d.address = l.Addr().String()
	if d.socket, err = l.(*net.TCPListener).File(); err != nil {
		return nil, fmt.Errorf("gdb: %w", err)
	}
	return d, nil
}

// Socket returns the socket for [guest.Config.Debugger]. It belongs to the Debugger.
func (d *Debugger) Socket() *os.File { return d.socket }

// Close closes the socket. Call it when the guest has ended.
func (d *Debugger) Close() {
	if d.socket != nil {
		d.socket.Close()
	}
}

// Lines returns instructions for the user: the command that attaches gdb.
func (d *Debugger) Lines() []string {
	lines := []string{
		"the guest waits for gdb before its first instruction. In another terminal:",
		fmt.Sprintf("  %s -ex 'file %s' -ex 'target remote %s' -ex 'hbreak %ssys_bpf' -ex continue", debuggerFor(d.of), d.symbols, d.address, d.of.Syscalls),
	}
	if !d.exact {
		lines = append(lines, fmt.Sprintf("(types and lines: install Debian's package linux-image-%s-dbg, for %s)", d.release, debugFiles(d.release)[0]))
	}
	return lines
}

// debuggerFor returns the name of the gdb for an architecture. Debian's package gdb supports only
// this machine's architecture.
func debuggerFor(of *arch.Arch) string {
	if of.Name == arch.Native {
		return "gdb"
	}
	return "gdb-multiarch"
}

// debugFiles returns the paths where distributions put kernels with debug information.
func debugFiles(release string) []string {
	return []string{
		"/usr/lib/debug/boot/vmlinux-" + release,
		"/usr/lib/debug/lib/modules/" + release + "/vmlinux",
		"/usr/lib/debug/usr/lib/modules/" + release + "/vmlinux",
	}
}

func (d *Debugger) findSymbols(ctx context.Context, c *guest.Config) error {
	for _, file := range append([]string{c.Kernel.BootPath}, debugFiles(c.Kernel.Release)...) {
		if hasSymbols(file) {
			d.symbols, d.exact = file, true
			return nil
		}
	}
	name := "vmlinux-" + c.Kernel.Release
	dir, err := c.Store.Cache().MakeDir(ctx, "the kernel's symbols", symbolsKey(c), func(dir string) error {
		list, err := askSymbols(ctx, *c)
		if err != nil {
			return err
		}
		return writeSymbols(filepath.Join(dir, name), d.of.Machine, list)
	})
	d.symbols = filepath.Join(dir, name)
	return err
}

// symbolsKey returns the cache key of a kernel's symbols.
func symbolsKey(c *guest.Config) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "symbols 1 %s %s", c.Kernel.SHA256, filepath.Base(c.Kernel.BootPath)))
	return "symbols-" + hex.EncodeToString(sum[:])
}

// hasSymbols reports whether an ELF file has symbols and debug information.
func hasSymbols(file string) bool {
	e, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer e.Close()
	return e.Section(".symtab") != nil && e.Section(".debug_info") != nil
}

// askSymbols reads the addresses of the kernel's symbols in a guest. Without KASLR they are the
// same in every guest.
func askSymbols(ctx context.Context, c guest.Config) ([]byte, error) {
	c.Params = append(slices.Clone(c.Params), "nokaslr")
	var out, errs bytes.Buffer
	s := &session{
		command: wire.Command{Path: "/init", Args: []string{"cat", "/proc/kallsyms"}, Dir: "/"},
		stdout:  &out, stderr: &errs, get: &getter{}, memory: guest.GuestMemoryMiB, timeout: symbolsTimeout,
	}
	status, err := s.run(ctx, c)
	if err != nil {
		return nil, err
	}
	if status != 0 {
		return nil, fmt.Errorf("the guest's /proc/kallsyms: %s", strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// symbolsTimeout limits how long the guest may take to print them.
const symbolsTimeout = time.Minute

// symbol is a symbol of the kernel image, not of a module.
type symbol struct {
	name    string
	address uint64
	code    bool
}

// kernelAddresses is the lowest address of a kernel image. Symbols below it are offsets into
// per-CPU data.
const kernelAddresses = 0xffff_8000_0000_0000

func parseSymbols(list []byte) ([]symbol, error) {
	var out []symbol
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || len(f[1]) != 1 { // a fourth field names a module
			continue
		}
		address, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil || address < kernelAddresses {
			continue
		}
		out = append(out, symbol{f[2], address, strings.Contains("tTwW", f[1])})
	}
	if len(out) == 0 {
		return nil, errors.New("the guest tells no addresses: is CONFIG_KALLSYMS on?")
	}
	slices.SortStableFunc(out, func(a, b symbol) int {
		switch {
		case a.address < b.address:
			return -1
		case a.address > b.address:
			return 1
		}
		return 0
	})
	return out, nil
}

// writeSymbols writes an ELF file that has the symbols of /proc/kallsyms and no contents. gdb reads
// memory from the guest.
func writeSymbols(file string, machine elf.Machine, list []byte) error {
	symbols, err := parseSymbols(list)
	if err != nil {
		return err
	}
	var strs elffile.Strings
	syms := elffile.Append(nil, elf.Sym64{})
	for i, s := range symbols {
		kind := elf.STT_OBJECT
		if s.code {
			kind = elf.STT_FUNC
		}
		sym := elf.Sym64{Name: strs.Add(s.name), Info: elf.ST_INFO(elf.STB_GLOBAL, kind), Shndx: 1, Value: s.address}
		if i+1 < len(symbols) {
			sym.Size = symbols[i+1].address - s.address
		}
		syms = elffile.Append(syms, sym)
	}
	low, high := symbols[0].address, symbols[len(symbols)-1].address
	return os.WriteFile(file, elffile.Write(elf.ET_EXEC, machine, []elffile.Section{
		{Name: ".text", Type: elf.SHT_NOBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Addr: low, Size: high - low + 1, Align: 16},
		{Name: ".symtab", Type: elf.SHT_SYMTAB, Data: syms, Link: 3, Info: 1, Align: 8, Entsize: elf.Sym64Size},
	}, strs), 0o644)
}
