package vmimage

import (
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

// Kernel is a kernel that can be booted: everything it names is on this
// machine.
type Kernel struct {
	// Name is what the user typed.
	Name string
	// Arch in Debian's words, such as "arm64": what the image is for.
	Arch string
	// Release is what `uname -r` says in the guest.
	Release string
	// Version is what capabilities are compared with, such as "6.12".
	Version string
	// SHA256 of the image as it was shipped, in hexadecimal.
	SHA256 string
	// Origin describes in words where the kernel came from.
	Origin string

	// BootPath is what to give to QEMU's -kernel: on x86 an ELF vmlinux with a PVH
	// entry point, which starts without decompressing anything in the guest,
	// or else the bzImage; elsewhere the Image.
	BootPath string
	// ImagePath is the image as it was shipped.
	ImagePath string
	// ConfigPath is the kernel's configuration; "" if there is none.
	ConfigPath string
	// ModulesDir holds kernel/, modules.builtin and so on; "" if there is
	// none.
	ModulesDir string

	// key identifies the files of a kernel in the cache; "" for a kernel that
	// lies elsewhere and may change.
	key string
	// tree means that ModulesDir is a build tree.
	tree bool

	capabilities map[string]Capability
	without      map[string]string
}

// Tree is the directory that the kernel was built in, with modules; "" if it came
// otherwise.
func (k *Kernel) Tree() string {
	if !k.tree {
		return ""
	}
	return k.ModulesDir
}

// Must reports whether the kernel has to have a capability: kernels.yaml says
// since when kernels have it, and makes no exception for this one. Nothing is
// demanded of a kernel that was given as a path, as nobody described it.
func (k *Kernel) Must(capability string) bool {
	c, ok := k.capabilities[capability]
	if !ok {
		return false
	}
	if _, without := k.without[capability]; without {
		return false
	}
	since := c.SinceOn(k.Arch)
	return since != Never && kversion.Compare(k.Version, since) >= 0
}

// Without returns the reason why the kernel lacks a capability although it is
// new enough.
func (k *Kernel) Without(capability string) (reason string, ok bool) {
	reason, ok = k.without[capability]
	return reason, ok
}
