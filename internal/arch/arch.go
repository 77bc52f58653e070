// Package arch is the table of the architectures that guests can have: what a
// processor is called where, how its kernels are told, and what emulates it. What QEMU
// has to be told is in package vm.
package arch

import (
	"debug/elf"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// Arch is one architecture.
type Arch struct {
	// Name is what Debian, Go and our users call it.
	Name string
	// Also are other names of it: the kernel's, as `uname -m` has it.
	Also []string
	// Machine is in the headers of its ELF files.
	Machine elf.Machine
	// Target is behind __TARGET_ARCH_ in libbpf's bpf_tracing.h.
	Target string
	// Triplet is the name of the directory for its libraries and headers.
	Triplet string

	// Dir is its directory below arch/ in the kernel's tree, and ARCH= of a build.
	Dir string
	// Image is the path of the image in a built tree, and MakeImage the target that makes it.
	Image, MakeImage string
	// ImageMagic is what an image has at offset 0x38. It is empty for x86, whose images have a header of
	// their own, and an EFI stub that may have anything there.
	ImageMagic string
	// Syscalls is what the kernel's functions for system calls begin with.
	Syscalls string

	// QEMU is the name of the emulator, QEMUPackage the Debian package that has it.
	QEMU, QEMUPackage string

	// Option is the kernel's option for it with 64 bits, ConsoleOption that for the console of guests.
	Option, ConsoleOption string
}

// All are the architectures of guests.
var All = []*Arch{
	{
		Name: "amd64", Also: []string{"x86_64", "x86-64", "x86"}, Machine: elf.EM_X86_64, Target: "x86", Triplet: "x86_64-linux-gnu",
		Dir: "x86", Image: "arch/x86/boot/bzImage", MakeImage: "bzImage", Syscalls: "__x64_", QEMU: "qemu-system-x86_64", QEMUPackage: "qemu-system-x86", Option: "X86_64", ConsoleOption: "SERIAL_8250_CONSOLE",
	},
	{
		Name: "arm64", Also: []string{"aarch64"}, Machine: elf.EM_AARCH64, Target: "arm64", Triplet: "aarch64-linux-gnu",
		Dir: "arm64", Image: "arch/arm64/boot/Image", MakeImage: "Image", ImageMagic: "ARM\x64", Syscalls: "__arm64_", QEMU: "qemu-system-aarch64", QEMUPackage: "qemu-system-arm", Option: "ARM64", ConsoleOption: "SERIAL_AMBA_PL011_CONSOLE",
	},
	{
		Name: "riscv64", Machine: elf.EM_RISCV, Target: "riscv", Triplet: "riscv64-linux-gnu",
		Dir: "riscv", Image: "arch/riscv/boot/Image", MakeImage: "Image", ImageMagic: "RSC\x05", Syscalls: "__riscv_", QEMU: "qemu-system-riscv64", QEMUPackage: "qemu-system-misc", Option: "64BIT", ConsoleOption: "SERIAL_8250_CONSOLE",
	},
}

// BzImage is the name of the architecture whose images are bzImages.
const BzImage = "amd64"

// Native is the name of this machine's architecture. The table may not have it.
const Native = runtime.GOARCH

// Names returns the names of all.
func Names() []string {
	var names []string
	for _, a := range All {
		names = append(names, a.Name)
	}
	return names
}

// Find returns the architecture that is called so.
func Find(name string) (*Arch, bool) {
	i := slices.IndexFunc(All, func(a *Arch) bool { return a.Name == name || slices.Contains(a.Also, name) })
	if i < 0 {
		return nil, false
	}
	return All[i], true
}

// Parse returns Find for what a user typed.
func Parse(name string) (*Arch, error) {
	a, ok := Find(name)
	if !ok {
		return nil, fmt.Errorf("no architecture %q: there are %s", name, strings.Join(Names(), ", "))
	}
	return a, nil
}

// OfMachine returns the architecture whose ELF files have this in their header.
func OfMachine(machine elf.Machine) (*Arch, bool) {
	i := slices.IndexFunc(All, func(a *Arch) bool { return a.Machine == machine })
	if i < 0 {
		return nil, false
	}
	return All[i], true
}

// OfDir returns the architecture with this directory in the kernel's tree.
func OfDir(dir string) (*Arch, bool) {
	i := slices.IndexFunc(All, func(a *Arch) bool { return a.Dir == dir || slices.Contains(a.Also, dir) })
	if i < 0 {
		return nil, false
	}
	return All[i], true
}

// imageMagicAt is where an image has its magic number (Documentation/arch/arm64/booting.rst,
// Documentation/arch/riscv/boot-image-header.rst).
const imageMagicAt = 0x38

// OfImage returns the architecture of an Image, which is booted as it is. A bzImage is not an Image.
func OfImage(r io.ReaderAt) (*Arch, bool) {
	magic := make([]byte, 4)
	if _, err := r.ReadAt(magic, imageMagicAt); err != nil {
		return nil, false
	}
	i := slices.IndexFunc(All, func(a *Arch) bool { return a.ImageMagic == string(magic) })
	if i < 0 {
		return nil, false
	}
	return All[i], true
}

// Cut takes the architecture off the name of a kernel: "arm64/6.12". Without one it is this machine's.
func Cut(spec string) (arch, name string, explicit bool) {
	if before, after, ok := strings.Cut(spec, "/"); ok && !strings.Contains(after, "/") && after != "" {
		if a, ok := Find(before); ok {
			return a.Name, after, true
		}
	}
	return Native, spec, false
}

// Join returns how a kernel of an architecture is called on this machine.
func Join(arch, name string) string {
	if arch == Native {
		return name
	}
	return arch + "/" + name
}
