package vmimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/kconfig"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// fromTree returns the kernel of a built kernel tree or build directory (make O=), with the given
// image of the tree, or with file "" the best. It caches nothing of the tree, so a new build is
// used at once.
func (s *Store) fromTree(ctx context.Context, name, tree, file string) (*Kernel, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, err
	}
	options, err := readGoodOptions(tree)
	if err != nil {
		return nil, err
	}
	if file == "" {
		if file, err = treeImage(tree, options.Machine()); err != nil {
			return nil, err
		}
	}
	k, err := s.image(ctx, name, file)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", file, err)
	}
	s.noteTree(tree, k, options)
	k.Origin = tree
	k.ConfigPath = firstExisting(filepath.Join(tree, ".config"))
	modules, err := kmod.OfTree(tree)
	if err != nil {
		return nil, fmt.Errorf("kernel tree %s: %w", tree, err)
	}
	if len(modules) > 0 || firstExisting(filepath.Join(tree, "modules.builtin")) != "" {
		k.ModulesDir, k.tree = tree, true
	}
	return k, nil
}

// readGoodOptions reads the .config of a tree, and fails if guests cannot boot such a kernel.
func readGoodOptions(tree string) (*kconfig.Options, error) {
	options, err := kconfig.Read(filepath.Join(tree, ".config"))
	if err == nil {
		err = options.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("kernel tree %s: %w", tree, err)
	}
	return options, nil
}

// noteTree prints notes about an outdated build and missing options.
func (s *Store) noteTree(tree string, k *Kernel, options *kconfig.Options) {
	next, err := os.ReadFile(filepath.Join(tree, "include", "config", "kernel.release"))
	if release := strings.TrimSpace(string(next)); err == nil && release != k.Release {
		s.say("note: %s: the image is %s, but the next build will be %s: build it again if you meant that", tree, k.Release, release)
	}
	image, err := os.Stat(k.ImagePath)
	config, configErr := os.Stat(filepath.Join(tree, ".config"))
	if err == nil && configErr == nil && config.ModTime().After(image.ModTime()) {
		s.say("note: %s: .config is newer than the image: build it again if you changed it", tree)
	}
	if off := options.Off(); len(off) > 0 {
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
