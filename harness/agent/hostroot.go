package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountHostRoot makes the host's file system the root of this process. Reads come from the host,
// writes stay in memory. /proc, /sys and /dev are the guest's own.
func mountHostRoot(tag string) error {
	const (
		lower = "/host/lower"
		layer = "/host/layer"
		root  = "/host/root"
	)
	for _, dir := range []string{lower, layer, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(tag, lower, "virtiofs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount virtiofs: %w", err)
	}
	if err := unix.Mount("tmpfs", layer, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// overlayfs does not define whether changes on the host become visible.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		at := filepath.Join(root, dir)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", dir, err)
		}
	}
	// Services of the host keep files in /run, which are useless without the services.
	if err := unix.Mount("tmpfs", filepath.Join(root, "run"), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := showKernel(root); err != nil {
		return err
	}
	return switchRoot(root)
}

// showKernel makes the guest kernel's configuration and modules visible in another root, where
// programs look for them. They hide what the host has for the same release.
func showKernel(root string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	release := unix.ByteSliceToString(u.Release[:])
	if config, err := os.ReadFile("/boot/config-" + release); err == nil {
		boot := filepath.Join(root, "boot")
		if err := os.MkdirAll(boot, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(boot, "config-"+release), config, 0o644); err != nil {
			return err
		}
	}
	modules := "/lib/modules/" + release
	if _, err := os.Stat(modules); err != nil {
		return nil
	}
	// The host's /lib may be a link. Resolve it in the host's root, not in this one.
	at := inRoot(root, modules)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(modules, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", modules, err)
	}
	return nil
}

// inRoot returns where a path leads below a root whose /lib may be a link to usr/lib.
func inRoot(root, path string) string {
	target, err := os.Readlink(filepath.Join(root, "lib"))
	if err != nil {
		return filepath.Join(root, path)
	}
	return filepath.Join(root, filepath.Join("/", target), strings.TrimPrefix(path, "/lib"))
}

// switchRoot makes a directory the root of this process and of its mount namespace. chroot alone is
// not enough: the kernel does not let a process in a chroot create user namespaces. Nor can
// programs use pivot_root(2) while the root is the initramfs.
func switchRoot(dir string) error {
	if dir == "/" {
		dir = "/host/self"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind the root: %w", err)
		}
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to the root: %w", dir, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}
