package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// HostRootModules are the modules that a guest needs to have the host's root:
// virtiofs (Linux 5.4) for the files, overlay (Linux 3.18) for what is changed.
var HostRootModules = []string{"virtiofs", "overlay"}

// mountHostRoot makes the host's file system this process's root: what is read
// is the host's, what is written stays in memory. The guest's own /proc, /sys and
// /dev are there.
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
	// Files that the host changes meanwhile may be seen or not.
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
	// What services of the host keep there is of no use to a guest without them.
	if err := unix.Mount("tmpfs", filepath.Join(root, "run"), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}
