package vmimage

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// fromTree returns the kernel of a built kernel tree or build directory (make O=). It caches
// nothing of the tree, so a new build is used at once.
func (s *Store) fromTree(ctx context.Context, name, tree string) (*Kernel, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, err
	}
	options, err := readGoodOptions(tree)
	if err != nil {
		return nil, err
	}
	file, err := treeImage(tree, options.machine())
	if err != nil {
		return nil, err
	}
	return s.treeKernel(ctx, name, tree, file, options)
}

// readGoodOptions reads the .config of a tree, and fails if guests cannot boot such a kernel.
func readGoodOptions(tree string) (*kernelOptions, error) {
	options, err := readOptions(filepath.Join(tree, ".config"))
	if err == nil {
		err = options.check()
	}
	if err != nil {
		return nil, fmt.Errorf("kernel tree %s: %w", tree, err)
	}
	return options, nil
}

// fromTreeImage is fromTree for a given image of the tree.
func (s *Store) fromTreeImage(ctx context.Context, name, tree, file string) (*Kernel, error) {
	options, err := readGoodOptions(tree)
	if err != nil {
		return nil, err
	}
	return s.treeKernel(ctx, name, tree, file, options)
}

func (s *Store) treeKernel(ctx context.Context, name, tree, file string, options *kernelOptions) (*Kernel, error) {
	k, err := s.image(ctx, name, file)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", file, err)
	}
	s.noteTree(tree, k, options)
	k.Origin = tree
	k.ConfigPath = firstExisting(filepath.Join(tree, ".config"))
	modules, err := treeModules(tree)
	if err != nil {
		return nil, fmt.Errorf("kernel tree %s: %w", tree, err)
	}
	if len(modules) > 0 || firstExisting(filepath.Join(tree, "modules.builtin")) != "" {
		k.ModulesDir, k.tree = tree, true
	}
	return k, nil
}

// noteTree prints notes about an outdated build and missing options.
func (s *Store) noteTree(tree string, k *Kernel, options *kernelOptions) {
	next, err := os.ReadFile(filepath.Join(tree, "include", "config", "kernel.release"))
	if release := strings.TrimSpace(string(next)); err == nil && release != k.Release {
		s.say("note: %s: the image is %s, but the next build will be %s: build it again if you meant that", tree, k.Release, release)
	}
	image, err := os.Stat(k.ImagePath)
	config, configErr := os.Stat(filepath.Join(tree, ".config"))
	if err == nil && configErr == nil && config.ModTime().After(image.ModTime()) {
		s.say("note: %s: .config is newer than the image: build it again if you changed it", tree)
	}
	if off := options.off(); len(off) > 0 {
		s.say("note: %s: this kernel lacks %s", tree, strings.Join(off, "; "))
	}
}

// treeImage returns the image of a tree. On x86 that is the bzImage, because the vmlinux is often
// huge with debug information, unless the vmlinux is newer; elsewhere it is the Image.
func treeImage(tree string, of *arch.Arch) (string, error) {
	bz := filepath.Join(tree, filepath.FromSlash(of.Image))
	elf := filepath.Join(tree, "vmlinux")
	bzInfo, bzErr := os.Stat(bz)
	elfInfo, elfErr := os.Stat(elf)
	switch {
	case bzErr == nil && (of.ImageMagic != "" || elfErr != nil || !elfInfo.ModTime().After(bzInfo.ModTime())):
		return bz, nil
	case elfErr == nil && of.ImageMagic == "":
		return elf, nil
	case firstExisting(filepath.Join(tree, "Kbuild"), filepath.Join(tree, "Makefile"), filepath.Join(tree, ".config")) == "":
		return "", fmt.Errorf("%s is no kernel tree, and no directory that one was built in", tree)
	default:
		return "", fmt.Errorf("kernel tree %s: there is no %s; build it first: make -C %s -j %s modules", tree, of.Image, tree, of.MakeImage)
	}
}

// treeModules returns the paths of the modules of a build tree: those that
// modules.order lists, whose lines end in .ko, or in .o since Linux 6.2
// (f65a486821cf, "kbuild: change module.order to list *.o instead of *.ko"); and
// those of the BPF selftests, which are built outside the kernel.
func treeModules(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "modules.order"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for line := range strings.FieldsSeq(string(data)) {
		name := strings.TrimPrefix(line, "kernel/")
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".ko"), ".o") + ".ko"
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("modules.order: %q is not a path in the tree", line)
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, fmt.Errorf("modules.order lists %s, which is not built: make -C %s -j modules", name, dir)
		}
		paths = append(paths, name)
	}
	for _, pattern := range []string{"*.ko", "test_kmods/*.ko", "bpf_testmod/*.ko"} {
		found, err := filepath.Glob(filepath.Join(dir, "tools/testing/selftests/bpf", pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return nil, err
			}
			// The build leaves copies in the parent directory, which come first.
			if !slices.ContainsFunc(paths, func(p string) bool { return moduleName(p) == moduleName(rel) }) {
				paths = append(paths, filepath.ToSlash(rel))
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// kernelOptions are the enabled options of a .config.
type kernelOptions struct {
	// arch is the architecture in the first lines, "" if they name none.
	arch string
	on   map[string]bool
	// builtin are the enabled options that are not modules.
	builtin map[string]bool
}

var configTitle = regexp.MustCompile(`^# Linux/(\w+) `)

// readOptions reads a .config. It returns nil if there is none, or if it is empty.
func readOptions(file string) (*kernelOptions, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := &kernelOptions{on: make(map[string]bool), builtin: make(map[string]bool)}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if title := configTitle.FindStringSubmatch(lines.Text()); title != nil {
			o.arch = title[1]
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "CONFIG_"), "=")
		if ok && (value == "y" || value == "m") {
			o.on[name] = true
			o.builtin[name] = value == "y"
		}
	}
	if len(o.on) == 0 {
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

// check returns an error if guests cannot boot the kernel. A kernel without a configuration passes.
func (o *kernelOptions) check() error {
	if o == nil {
		return nil
	}
	of := o.machine()
	if of == nil {
		return fmt.Errorf("it is configured for %s, guests are for %s", cmp.Or(o.arch, "another machine"), strings.Join(arch.Names(), ", "))
	}
	if !o.on[of.Option] {
		return fmt.Errorf("it is configured for 32 bits, guests are for %s: scripts/config -e 64BIT", of.Name)
	}
	var missing []string
	for _, name := range guestsNeed {
		if !o.on[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("guests need what is switched off in its .config; switch it on and build again: scripts/config -e %s && make olddefconfig",
		strings.Join(missing, " -e "))
}

// machine returns the architecture that the kernel is configured for, nil if there are no guests
// for it. Without a configuration it is this machine's.
func (o *kernelOptions) machine() *arch.Arch {
	var of *arch.Arch
	switch {
	case o == nil:
		of, _ = arch.Find(arch.Native)
	case o.arch != "":
		of, _ = arch.OfDir(o.arch)
	default: // no title: written by hand
		if i := slices.IndexFunc(arch.All, func(a *arch.Arch) bool { return a.Option != "64BIT" && o.on[a.Option] }); i >= 0 {
			of = arch.All[i]
		}
	}
	return of
}

// off lists wanted options that are disabled.
func (o *kernelOptions) off() []string {
	if o == nil {
		return nil
	}
	of := o.machine()
	var out []string
	for _, want := range guestsWant {
		name := want.name
		switch {
		case name == consoleOption:
			name = of.ConsoleOption
		case name == pvhOption && of.ImageMagic != "":
			continue
		}
		if !o.on[name] {
			out = append(out, fmt.Sprintf("%s (CONFIG_%s)", want.without, name))
		}
	}
	return out
}
