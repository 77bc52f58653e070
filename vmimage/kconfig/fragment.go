package kconfig

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// fragmentNeeds are options that others depend on: without them make olddefconfig drops options
// that guests want or need.
var fragmentNeeds = []string{
	"64BIT", "BLOCK", "TTY", "NET", "INET", "PCI", "VIRTIO_MENU", "BPF", "CGROUPS", "FTRACE", "FUNCTION_TRACER", "KPROBES", "PERF_EVENTS", "SECURITY",
	"DEBUG_KERNEL", "DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT", "MODULES", "TMPFS", "TMPFS_XATTR", "DEVTMPFS_MOUNT", "UNIX",
	"VIRTIO_NET", "FUSE_FS", "VIRTIO_FS", "OVERLAY_FS",
}

// Fragment returns a fragment of a kernel's configuration, for scripts/kconfig/merge_config.sh or a
// file in kernel/configs. It enables all options that guests of an architecture need or want.
func Fragment(of *arch.Arch) string {
	var b strings.Builder
	on := func(name string) { fmt.Fprintf(&b, "CONFIG_%s=y\n", name) }
	fmt.Fprintf(&b, "# What guests of bpfreplay need (%s).\n", of.Name)
	for _, name := range guestsNeed {
		on(name)
	}
	b.WriteString("# What makes more possible.\n")
	for _, want := range guestsWant {
		switch name := want.name; {
		case name == consoleOption:
			on(of.ConsoleOption)
			on(strings.TrimSuffix(of.ConsoleOption, "_CONSOLE"))
		case name == pvhOption && of.ImageMagic != "":
		default:
			on(name)
		}
	}
	b.WriteString("# What these depend on.\n")
	for _, name := range fragmentNeeds {
		on(name)
	}
	b.WriteString("# CONFIG_DEBUG_INFO_NONE is not set\n# CONFIG_DEBUG_INFO_REDUCED is not set\n")
	return b.String()
}
