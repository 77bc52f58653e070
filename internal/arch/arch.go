// Package arch is the table of guest architectures: their names in different places, how to
// recognise their kernels, and their emulators. QEMU's options for them are in package vm.
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
	// Name is the name that Debian, Go and our users use.
	Name string
	// Also has other names: the kernel's, as `uname -m` prints it.
	Also []string
	// Machine is e_machine in the headers of its ELF files.
	Machine elf.Machine
	// Target follows __TARGET_ARCH_ in libbpf's bpf_tracing.h.
	Target string
	// Triplet is the name of the directory of its libraries and headers.
	Triplet string

	// Dir is its directory below arch/ in the kernel's tree, and the value of ARCH= of a build.
	Dir string
	// Image is the path of the image in a built tree, and MakeImage the make target that builds it.
	Image, MakeImage string
	// ImageMagic is the magic number at offset 0x38 of an image. It is empty for x86, whose images
	// have another header, and an EFI stub that may have anything there.
	ImageMagic string
	// Syscalls is the prefix of the kernel's functions for system calls.
	Syscalls string

	// QEMU is the name of the emulator, QEMUPackage the Debian package that contains it.
	QEMU, QEMUPackage string

	// Option is the kernel's config option for the 64-bit architecture, ConsoleOption the one for
	// the guests' console.
	Option, ConsoleOption string
}

// All has the architectures of guests.
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

// BzImage is the architecture whose images are bzImages.
const BzImage = "amd64"

// Native is the name of this machine's architecture. It may be missing in the table.
const Native = runtime.GOARCH

// Names returns the names of all architectures.
func Names() []string {
	var names []string
	for _, a := range All {
		names = append(names, a.Name)
	}
	return names
}

// Find returns the architecture with this name, or one of its other names.
func Find(name string) (*Arch, bool) {
	return find(func(a *Arch) bool { return a.Name == name || slices.Contains(a.Also, name) })
}

func find(is func(*Arch) bool) (*Arch, bool) {
	i := slices.IndexFunc(All, is)
	if i < 0 {
		return nil, false
	}
	return All[i], true
}

// Parse is Find for user input: the error lists the known names.
func Parse(name string) (*Arch, error) {
	a, ok := Find(name)
	if !ok {
		return nil, fmt.Errorf("no architecture %q: there are %s", name, strings.Join(Names(), ", "))
	}
	return a, nil
}

// OfMachine returns the architecture with this e_machine.
func OfMachine(machine elf.Machine) (*Arch, bool) {
	return find(func(a *Arch) bool { return a.Machine == machine })
}

// OfDir returns the architecture with this directory in the kernel's tree.
func OfDir(dir string) (*Arch, bool) {
	return find(func(a *Arch) bool { return a.Dir == dir || slices.Contains(a.Also, dir) })
}

// imageMagicAt is the offset of an image's magic number (Documentation/arch/arm64/booting.rst,
// Documentation/arch/riscv/boot-image-header.rst).
const imageMagicAt = 0x38

// OfImage returns the architecture of an Image, the uncompressed kernel that is booted directly. A
// bzImage is not an Image.
func OfImage(r io.ReaderAt) (*Arch, bool) {
	magic := make([]byte, 4)
	if _, err := r.ReadAt(magic, imageMagicAt); err != nil {
		return nil, false
	}
	return find(func(a *Arch) bool { return a.ImageMagic == string(magic) })
}

// Cut splits the name of a kernel, such as "arm64/6.12", into architecture and name. Without an
// architecture it returns this machine's.
func Cut(spec string) (arch, name string, explicit bool) {
	if before, after, ok := strings.Cut(spec, "/"); ok && !strings.Contains(after, "/") && after != "" {
		if a, ok := Find(before); ok {
			return a.Name, after, true
		}
	}
	return Native, spec, false
}

// Join returns the name of a kernel with its architecture, which this machine's kernels omit.
func Join(arch, name string) string {
	if arch == Native {
		return name
	}
	return arch + "/" + name
}
