package vmimage

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/kconfig"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// fromFile returns the kernel in a bzImage, a vmlinux, or an archive with one of them: a Debian
// package or a tar archive. It looks for the configuration and the modules of an image where
// packages, installations and trees have them, and follows symbolic links to the image.
func (s *Store) fromFile(ctx context.Context, name, file string) (*Kernel, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	packed, err := archive.Is(file)
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	if packed {
		k, err := s.fromArchive(ctx, name, file)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", file, err)
		}
		return k, nil
	}
	dirs := []string{filepath.Dir(file)}
	if real, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		if tree := treeOf(dir, filepath.Base(file)); tree != "" {
			return s.fromTree(ctx, name, tree, file)
		}
	}
	k, err := s.image(ctx, name, file)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", file, err)
	}
	var configs, modules []string
	for _, dir := range dirs {
		root := filepath.Dir(dir) // of boot/
		if filepath.Base(dir) == k.Release && filepath.Base(root) == "modules" {
			// Since Linux 6.19 Debian has the image beside its modules, as other distributions do.
			modules = append(modules, dir)
			root = strings.TrimSuffix(strings.TrimSuffix(root, "/lib/modules"), "/usr") + "/"
			configs = append(configs, filepath.Join(root, "boot", "config-"+k.Release))
		}
		configs = append(configs, filepath.Join(dir, "config-"+k.Release), filepath.Join(dir, "config"))
		modules = append(modules, filepath.Join(dir, "modules"),
			filepath.Join(root, "lib", "modules", k.Release), filepath.Join(root, "usr", "lib", "modules", k.Release))
	}
	k.ModulesDir = firstExisting(modules...)
	if k.ModulesDir != "" {
		configs = append(configs, filepath.Join(k.ModulesDir, "config"))
	}
	k.ConfigPath = firstExisting(configs...)
	return k, nil
}

// treeOf returns the kernel tree or build directory whose image is name in dir, "" if there is
// none.
func treeOf(dir, name string) string {
	tree := dir
	// .../arch/arm64/boot
	if boot, above := filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)); filepath.Base(dir) == "boot" && filepath.Base(above) == "arch" {
		if _, ok := arch.OfDir(filepath.Base(boot)); ok {
			tree = filepath.Dir(above)
		}
	}
	if tree == dir && name != "vmlinux" || firstExisting(filepath.Join(tree, ".config")) == "" {
		return ""
	}
	return tree
}

// fromArchive returns the kernel in an archive on this machine. It keeps the unpacked kernel in the
// cache.
func (s *Store) fromArchive(ctx context.Context, name, file string) (*Kernel, error) {
	read, err := archiveKind(file)
	if err != nil {
		return nil, err
	}
	sum, err := s.cache.Sum(file)
	if err != nil {
		return nil, err
	}
	k, err := s.installFile(ctx, name, installKey(sum), file, read)
	if err != nil {
		return nil, err
	}
	k.Name, k.Origin = name, file
	return k, nil
}

// ownOptions are the configuration options of the modules that the harness itself needs in guests.
// The options of other modules are not known, so a kernel's configuration does not help for them.
var ownOptions = map[string]string{
	"virtio_console": "VIRTIO_CONSOLE", "virtio_pci": "VIRTIO_PCI", "virtio_net": "VIRTIO_NET", "virtiofs": "VIRTIO_FS", "overlay": "OVERLAY_FS",
}

// lacks returns nil if the kernel may have a module built in although its files do not name it: its
// configuration says so, or there is no configuration. In the second case the guest finds out.
func (k *Kernel) lacks(name string) error {
	missing := fmt.Errorf("kernel %s (%s): no module is called %s, and it is not built in either", k.Name, k.Release, name)
	if k.ModulesDir == "" {
		missing = fmt.Errorf("kernel %s: no modules came with it, so %s cannot be had", k.Name, name)
	}
	option, ok := ownOptions[kmod.Name(name)]
	if !ok {
		return missing
	}
	if k.ConfigPath == "" {
		if k.ModulesDir == "" || firstExisting(filepath.Join(k.ModulesDir, "modules.builtin")) == "" {
			return nil
		}
		return missing
	}
	options, err := kconfig.Read(k.ConfigPath)
	switch {
	case err != nil:
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	case options == nil || options.Builtin[option]:
		return nil
	case options.On[option]:
		return fmt.Errorf("kernel %s (%s): %s is a module (CONFIG_%s=m in %s), which is not there", k.Name, k.Release, name, option, k.ConfigPath)
	}
	return fmt.Errorf("kernel %s (%s): %s is switched off: CONFIG_%s in %s", k.Name, k.Release, name, option, k.ConfigPath)
}
