package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/skelprog"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// prepare collects the contents of the initramfs and defines the guests.
func (r *runner) prepare(ctx context.Context) error {
	if err := r.SetAgent(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return err
	}
	var modules []string
	for _, m := range r.suite.Modules() {
		if _, err := r.Kernel.Modules(m); err != nil {
			// The probe for the module will report that it is missing.
			r.Note(fmt.Sprintf("kernel %s has no module %s: %v", r.Kernel.Name, m, err))
			continue
		}
		modules = append(modules, m)
	}
	initrd := filepath.Join(r.Out, "initramfs.cpio")
	stale, err := filepath.Glob(filepath.Join(r.Out, "console*.log"))
	if err != nil {
		return err
	}
	for _, path := range append(stale, initrd) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	tool, err := r.toolFiles(ctx)
	if err != nil {
		return err
	}
	skeleton, err := r.skeletonFiles(ctx)
	if err != nil {
		return err
	}
	initramfs, err := r.Initramfs(r.first, modules, slices.Concat(tool, skeleton))
	if err != nil {
		return err
	}
	config := r.Config
	config.Note = func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Note(line)
	}
	r.source = guest.Source{
		Config: config, Initramfs: initramfs, Initrd: initrd,
		WarmUp: wire.WarmUp{Exercise: r.exercises(), Bpftool: r.tool},
	}
	if r.Repeat <= 1 {
		r.source.WarmUp.Engines = r.Engines
	}
	return nil
}

// exercises reports whether programs are attached. Timed runs only load them.
func (r *runner) exercises() bool { return !r.LoadOnly && r.Repeat <= 1 }

// toolFiles returns bpftool and its libraries, if an engine needs them.
func (r *runner) toolFiles(ctx context.Context) ([]initramfs.File, error) {
	if !enginename.UseTool(r.Engines) {
		return nil, nil
	}
	paths := r.Bpftool
	if len(paths) == 0 && r.Kernel.Arch != arch.Native {
		return r.foreignTool(ctx)
	}
	if len(paths) == 0 {
		path, err := enginename.FindTool()
		if err != nil {
			return nil, err
		}
		paths = []string{path}
	}
	files, err := initramfs.Programs(r.Kernel.Arch, enginename.GuestTool, paths...)
	if err != nil {
		return nil, fmt.Errorf("bpftool: %w", err)
	}
	r.tool = path.Join(enginename.GuestTool, "bin", filepath.Base(paths[0]))
	return files, nil
}

// foreignTool returns Debian's bpftool for the guest's architecture.
func (r *runner) foreignTool(ctx context.Context) ([]initramfs.File, error) {
	const program = "/usr/sbin/bpftool"
	root, err := r.Store.Tool(ctx, r.Kernel.Arch, "bpftool")
	if err != nil {
		return nil, fmt.Errorf("bpftool for %s: %w; name one with --bpftool", r.Kernel.Arch, err)
	}
	files, err := initramfs.ProgramsIn(root, r.Kernel.Arch, enginename.GuestTool, program)
	if err != nil {
		return nil, fmt.Errorf("bpftool for %s: %w", r.Kernel.Arch, err)
	}
	r.tool = path.Join(enginename.GuestTool, "bin", filepath.Base(program))
	return files, nil
}

// skeletonFiles returns the programs of the engines that load skeletons, built for the cases.
func (r *runner) skeletonFiles(ctx context.Context) (files []initramfs.File, err error) {
	for _, e := range enginename.Skeletons(r.Engines) {
		program, err := Skeletons(ctx, r.suite, e, r.Kernel.Arch, filepath.Join(r.Out, "skeletons"))
		if err != nil {
			return nil, err
		}
		files = append(files, initramfs.File{Path: path.Join(enginename.GuestSkeletons, e), Mode: 0o755, Host: program})
	}
	return files, nil
}

// Skeletons builds the program of an engine that loads skeletons, with the skeletons of all cases,
// and returns its path.
func Skeletons(ctx context.Context, s *suite.Suite, engine, arch, dir string) (string, error) {
	var objects []skelprog.Object
	for i := range s.Cases {
		data, err := os.ReadFile(s.Path(&s.Cases[i]))
		if err != nil {
			return "", fmt.Errorf("case %s: %w", s.Cases[i].Name, err)
		}
		objects = append(objects, skelprog.Object{Name: filepath.Base(s.Cases[i].Object), Data: data})
	}
	return skelprog.Build(ctx, engine, arch, dir, objects)
}
