package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// plainBoot prepares the boot that everything is compared with, the one that a person would type
// first: QEMU's default machine, the kernel's bzImage, and a busybox that powers off.
func (b *bench) plainBoot(ctx context.Context, accelerator string) (func() (time.Duration, error), error) {
	initrd := filepath.Join(b.temp, "busybox.cpio.gz")
	if err := writeInitrd(initrd); err != nil {
		return nil, err
	}
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	kernel, err := store.Resolve(ctx, b.kernel)
	if err != nil {
		return nil, err
	}
	return func() (time.Duration, error) {
		qemu := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", accelerator, "-m", "512", "-nographic", "-no-reboot",
			"-kernel", kernel.ImagePath, "-initrd", initrd, "-append", "console=ttyS0 panic=-1")
		start := time.Now()
		out, err := output(qemu)
		took := time.Since(start)
		if err == nil && !bytes.Contains(out, []byte("reboot: Power down")) {
			err = fmt.Errorf("%s: the guest did not switch itself off\n%s", qemu, out)
		}
		return took, err
	}, nil
}

// writeInitrd writes a compressed initramfs that has only busybox.
func writeInitrd(path string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	file, err := elf.Open(busybox)
	if err != nil {
		return err
	}
	defer file.Close()
	if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s needs shared libraries: install the Debian package busybox-static", busybox)
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	err = initramfs.Write(z, []initramfs.File{
		{Path: "/bin/busybox", Mode: 0o755, Host: busybox},
		{Path: "/dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
		{Path: "/init", Mode: 0o755, Data: []byte("#!/bin/busybox sh\nexec /bin/busybox poweroff -f\n")},
	})
	if err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}
