// Package kconfig knows what guests need of a kernel's configuration. [Read] reads one,
// [Options.Check] and [Options.Off] say what it lacks, and [Fragment] is one that lacks nothing.
package kconfig

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Options are the enabled options of a .config.
type Options struct {
	// arch is the architecture in the first lines, "" if they name none.
	arch string
	On   map[string]bool
	// Builtin are the enabled options that are not modules.
	Builtin map[string]bool
}

var configTitle = regexp.MustCompile(`^# Linux/(\w+) `)

// Read reads a .config. It returns nil if there is none, or if it is empty.
func Read(file string) (*Options, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := &Options{On: make(map[string]bool), Builtin: make(map[string]bool)}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if title := configTitle.FindStringSubmatch(lines.Text()); title != nil {
			o.arch = title[1]
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "CONFIG_"), "=")
		if ok && (value == "y" || value == "m") {
			o.On[name] = true
			o.Builtin[name] = value == "y"
		}
	}
	if len(o.On) == 0 {
		return nil, lines.Err()
	}
	return o, lines.Err()
}

// guestsNeed are the options without which a guest cannot start the agent, a Go program in an
// initramfs that communicates over virtio ports, or cannot load BPF. The two of virtio may be
// modules.
var guestsNeed = []string{
	"BINFMT_ELF", "BLK_DEV_INITRD", "BPF_SYSCALL", "DEVTMPFS", "EPOLL", "EVENTFD", "FUTEX", "PCI", "PROC_FS", "SYSFS",
	"VIRTIO_CONSOLE", "VIRTIO_PCI",
}

// Options that differ by architecture: the console is that of [arch.Arch], PVH is x86's alone.
const consoleOption, pvhOption = "CONSOLE", "PVH"

// guestsWant are options without which some features or cases are missing.
var guestsWant = []struct{ name, without string }{
	{"DEBUG_INFO_BTF", "its own types, so that nothing that is relocated to them or calls its functions can be loaded"},
	{consoleOption, "a console, so that a guest that dies says nothing"},
	{pvhOption, "a direct way to start, so that guests unpack it by themselves, which is slower"},
	{"KALLSYMS", "the addresses of its symbols"},
	{"BPF_JIT", "compiled BPF programs"},
	{"BPF_EVENTS", "BPF programs for tracing"},
	{"BPF_LSM", "BPF programs for LSM hooks"},
	{"CGROUP_BPF", "BPF programs for cgroups"},
	{"DYNAMIC_FTRACE", "BPF programs at functions"},
}

// Check returns an error if guests cannot boot the kernel. A kernel without a configuration passes.
func (o *Options) Check() error {
	if o == nil {
		return nil
	}
	of := o.Machine()
	if of == nil {
		return fmt.Errorf("it is configured for %s, guests are for %s", cmp.Or(o.arch, "another machine"), strings.Join(arch.Names(), ", "))
	}
	if !o.On[of.Option] {
		return fmt.Errorf("it is configured for 32 bits, guests are for %s: scripts/config -e 64BIT", of.Name)
	}
	var missing []string
	for _, name := range guestsNeed {
		if !o.On[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("guests need what is switched off in its .config; switch it on and build again: scripts/config -e %s && make olddefconfig",
		strings.Join(missing, " -e "))
}

// Machine returns the architecture that the kernel is configured for, nil if there are no guests
// for it. Without a configuration it is this machine's.
func (o *Options) Machine() *arch.Arch {
	var of *arch.Arch
	switch {
	case o == nil:
		of, _ = arch.Find(arch.Native)
	case o.arch != "":
		of, _ = arch.OfDir(o.arch)
	default: // no title: a configuration that somebody wrote
		if i := slices.IndexFunc(arch.All, func(a *arch.Arch) bool { return a.Option != "64BIT" && o.On[a.Option] }); i >= 0 {
			of = arch.All[i]
		}
	}
	return of
}

// Off lists wanted options that are disabled.
func (o *Options) Off() []string {
	if o == nil {
		return nil
	}
	of := o.Machine()
	var out []string
	for _, want := range guestsWant {
		name := want.name
		switch {
		case name == consoleOption:
			name = of.ConsoleOption
		case name == pvhOption && of.ImageMagic != "":
			continue
		}
		if !o.On[name] {
			out = append(out, fmt.Sprintf("%s (CONFIG_%s)", want.without, name))
		}
	}
	return out
}
