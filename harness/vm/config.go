package vm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Config describes the guest to start. Kernel and Initrd must be set.
type Config struct {
	// Arch is the architecture of the guest, as [arch.Arch] calls it. If empty it is this
	// machine's.
	Arch string

	// QEMU is the emulator: a name to look up in PATH, or a path. If empty it is the one for the
	// architecture. It must not be a wrapper script: if our process died, only the shell would be
	// killed for sure.
	QEMU string

	// Kernel is the file to boot. On x86 it is an ELF vmlinux with a PVH entry point (CONFIG_PVH,
	// Linux 5.0) or a bzImage; elsewhere it is an Image.
	Kernel string
	// Version is the kernel's version, such as "6.12.107", if known. It selects workarounds for
	// flaws of QEMU that affect some versions only.
	Version string
	// Initrd is the cpio archive whose /init becomes PID 1. An uncompressed one boots fastest.
	Initrd string
	// InitrdFile, if not nil, is the open archive to use instead of Initrd. It belongs to the
	// caller.
	InitrdFile *os.File
	// Params are kernel parameters to append to those that the machine needs; "--" is not one of
	// them.
	Params []string

	// Args are QEMU arguments to append to those that the machine needs.
	Args []string

	// MemoryMiB is the guest's memory in MiB, 256 if zero.
	MemoryMiB int
	// CPUs is the number of virtual CPUs, 1 if zero. Most tests want one: two virtual CPUs on a
	// busy host lose time to each other. To have several entries in per-CPU data without a second
	// CPU, put "possible_cpus=2" in Params.
	CPUs int

	// Accelerator is [Auto] if empty.
	Accelerator accel.Accelerator
	// StateDir is a directory that stores, for this boot of the host, whether KVM is usable. It is
	// made when needed. If empty nothing is stored.
	StateDir string

	// ConsolePath is the file that receives the serial console; it is truncated and
	// belongs to the caller. If empty the console is kept in memory.
	ConsolePath string

	// SaveDir is an empty directory for [VM.Save]. The guest's memory is a file in it from the
	// beginning. The directory belongs to the caller. If empty the guest cannot be saved.
	SaveDir string

	// Debugger, if not nil, is a listening socket at which QEMU waits for gdb. The guest is stopped
	// before its first instruction, and its kernel runs at the address it was linked for (nokaslr).
	// The socket belongs to the caller, who should set the timeouts to [Endless].
	Debugger *os.File
	// Filesystems are file systems of this machine for the guest to mount. A guest with one cannot
	// be saved.
	Filesystems []Filesystem
	// Network holds options of QEMU's -netdev user for the guest's network card. The network
	// forwards nothing (restrict=on) except what they name. If empty the guest has no card.
	Network []string

	// BootTimeout limits the time from QEMU's start to the guest's first byte on the port,
	// one minute if zero. A tuned boot takes 1 to 3 s under TCG.
	BootTimeout time.Duration
	// SilenceTimeout limits how long a [VM.Do] waits while the guest says nothing,
	// neither on the port nor on the console; half a minute if zero.
	SilenceTimeout time.Duration
}

// Endless is a timeout that never expires.
const Endless = time.Duration(math.MaxInt64)

// Filesystem is a file system that a virtiofsd serves.
type Filesystem struct {
	// Tag is the name by which the guest mounts it. It contains no comma.
	Tag string
	// Socket is connected to the server. It belongs to the caller.
	Socket *os.File
}

// withDefaults returns the configuration with every default filled in and paths made absolute.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Arch, arch.Native)
	p, err := platformOf(c.Arch)
	if err != nil {
		return c, err
	}
	setDefault(&c.QEMU, p.QEMU)
	setDefault(&c.MemoryMiB, 256)
	setDefault(&c.CPUs, 1)
	setDefault(&c.Accelerator, accel.Auto)
	setDefault(&c.BootTimeout, time.Minute)
	setDefault(&c.SilenceTimeout, 30*time.Second)

	if c.MemoryMiB < 0 || c.CPUs < 0 || c.BootTimeout < 0 || c.SilenceTimeout < 0 {
		return c, fmt.Errorf("guest with %d MiB, %d CPUs, boot timeout %s and silence timeout %s: none may be negative",
			c.MemoryMiB, c.CPUs, c.BootTimeout, c.SilenceTimeout)
	}
	return c, c.checkParams()
}

// platform returns the guest's machine. The configuration must have its defaults.
func (c *Config) platform() *platform { return platforms[c.Arch] }

// flaw returns the workarounds for what QEMU gets wrong with this configuration.
func (c *Config) flaw(by accel.Accelerator) flaw {
	if of := c.platform().flaw; of != nil && by == accel.TCG {
		return of(c.Version)
	}
	return flaw{}
}

// quoted matches a part of a kernel's command line in which spaces do not separate.
var quoted = regexp.MustCompile(`"[^"]*"`)

// checkParams refuses parameters that would swallow the end of the command line, which tells the
// kernel how to start the agent.
func (c *Config) checkParams() error {
	for _, p := range c.Params {
		bare := quoted.ReplaceAllString(p, "")
		if strings.Contains(bare, `"`) {
			return fmt.Errorf("kernel parameter %s: a quotation mark is missing", p)
		}
		if slices.Contains(strings.Fields(bare), "--") {
			return fmt.Errorf("kernel parameter %s: what follows -- is for init, which is the agent", p)
		}
	}
	return nil
}

// bootable checks the fields that only a boot needs.
func (c *Config) bootable() (err error) {
	if c.Kernel, err = readableFile("kernel", c.Kernel); err != nil {
		return err
	}
	if c.InitrdFile == nil {
		if c.Initrd, err = readableFile("initramfs", c.Initrd); err != nil {
			return err
		}
	}
	wires := inherited(3, 4, 5)
	if c.Debugger != nil {
		wires.debugger = "null"
	}
	if line := c.kernelLine(c.options(accel.TCG, wires, false)); len(line) > c.platform().maxLine {
		return fmt.Errorf("the kernel's command line has %d bytes, and a kernel takes %d: leave parameters out", len(line), c.platform().maxLine)
	}
	return c.fits()
}

// fits checks that the guest has enough memory for what QEMU loads there. A kernel with less dies
// before it can print anything.
func (c *Config) fits() error {
	kernel, err := kernelEnd(c.Kernel)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", c.Kernel, err)
	}
	stat := func() (fs.FileInfo, error) { return os.Stat(c.Initrd) }
	if c.InitrdFile != nil {
		stat = c.InitrdFile.Stat
	}
	initrd, err := stat()
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	const mib = 1 << 20
	if need := (kernel + uint64(initrd.Size()) + mib - 1) / mib; need > uint64(c.MemoryMiB) {
		return fmt.Errorf("a guest with %d MiB of memory: its kernel and the files that it begins with take %d: give it more", c.MemoryMiB, need)
	}
	return nil
}

// kernelEnd returns the physical address at which a kernel ends, in bytes. For a compressed image
// it returns the size on disk, which is a lower bound.
func kernelEnd(path string) (end uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return uint64(info.Size()), nil // QEMU reports a file that is no kernel
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_LOAD {
			end = max(end, p.Paddr+p.Memsz)
		}
	}
	return end, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// readableFile gives a clearer error than QEMU if the file cannot be read. It makes the path
// absolute, so that QEMU cannot take it for an option and the printed command line works from any
// directory.
func readableFile(what, path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("no %s given", what)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s %s is not a regular file", what, path)
	}
	if info.Size() == 0 {
		return "", fmt.Errorf("%s %s is empty", what, path)
	}
	return filepath.Abs(path)
}

// MissingQEMUError means that QEMU is not installed. Its text names the package that contains it.
type MissingQEMUError struct {
	// Arch is the architecture to emulate.
	Arch string
	// Binary is the name or path that was looked up.
	Binary string
	// Package is the Debian package that contains it.
	Package string
	// Err is the error of the look-up.
	Err error
}

func (e *MissingQEMUError) Error() string {
	setup := "make setup"
	if e.Arch != arch.Native {
		setup += " ARCH=" + e.Arch
	}
	return fmt.Sprintf("%s not found: run %q or install the Debian package %s", e.Binary, setup, e.Package)
}

func (e *MissingQEMUError) Unwrap() error { return e.Err }

// findQEMU returns the path of the emulator.
func (c *Config) findQEMU() (string, error) {
	path, err := exec.LookPath(c.QEMU)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "", &MissingQEMUError{Arch: c.Arch, Binary: c.QEMU, Package: c.platform().QEMUPackage, Err: err}
	}
	if err != nil {
		return "", fmt.Errorf("QEMU: %w", err)
	}
	return filepath.Abs(path)
}
