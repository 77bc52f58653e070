// Package artefacts has the commands that read objects and write, show and sign files with loader
// programs. They need no kernel.
package artefacts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/await"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader"
)

// artefactSuffix is the suffix of files that gen names itself.
const artefactSuffix = ".bpfreplay"

// NewGen returns the command gen.
func NewGen() *cobra.Command {
	var out string
	sections := inputs.DefaultSections
	var skeleton skeletonFlags
	var attach bool
	cmd := &cobra.Command{
		Use:   "gen OBJECT... [-o FILE|DIRECTORY]",
		Short: "Write the loader program of an object into one file",
		Long: `gen writes the loader program of each object: one file with instructions, blob and
a manifest (docs/artefact.md), the same bytes on every machine and for every
kernel. "bpfreplay load FILE" and package loader run it.

From my.bpf.o it makes my.bpfreplay. -o names another file, or with several objects a
directory.

For each object it prints the capabilities of the kernel that the loader program needs,
by their names in kernels.yaml, and what user space has to do.

With --attach the loader program also attaches programs of tp_btf, fentry, fexit,
fmod_ret, lsm and iter, once everything is loaded. A signature then covers the targets.

With --go or --c it writes a light skeleton of one object (docs/skeletons.md), into
the current directory or that of -o. With --cc it compiles the object first. With
--artefact it embeds a file that sign wrote, so that loads can be signed.`,
		Example: `  bpfreplay gen my.bpf.o
  bpfreplay gen -o build/ *.bpf.o
  bpfreplay gen --go --pkg main my.bpf.o
  bpfreplay gen --go --pkg main --cc clang-19 my.bpf.c -- -Iinclude`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := inputs.ObjectOptions(sections)
			if err != nil {
				return err
			}
			if skeleton.golang || skeleton.c {
				if attach {
					return errors.New("--attach is for files: skeletons attach what they have loaded")
				}
				return skeleton.run(cmd, args, out, opts)
			}
			var failed []error
			for _, path := range args {
				to, err := outFor(path, out, len(args) > 1)
				if err == nil {
					err = gen(cmd, path, to, opts, attach)
				}
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", path, err))
				}
			}
			return failures.All(failed...)
		},
	}
	cli.AddFlags(cmd, cli.Flags{"out": &out, "attach": &attach, "sections": &sections})
	skeleton.add(cmd)
	return cmd
}

// outFor returns the file to which an object's loader program is written.
func outFor(object, out string, several bool) (string, error) {
	name := filepath.Base(object)
	for _, suffix := range []string{".o", ".bpf"} {
		name = strings.TrimSuffix(name, suffix)
	}
	name += artefactSuffix
	if out == "" {
		return filepath.Join(filepath.Dir(object), name), nil
	}
	info, err := os.Stat(out)
	switch {
	case err == nil && info.IsDir():
		return filepath.Join(out, name), nil
	case several || strings.HasSuffix(out, "/"):
		return filepath.Join(out, name), os.MkdirAll(out, 0o755)
	}
	return out, nil
}

func gen(cmd *cobra.Command, path, to string, opts object.Options, attach bool) error {
	obj, err := await.Work(cmd.Context(), func() (*loader.Object, error) {
		return loader.OpenOptions{SectionRules: loader.SectionRules(opts.SectionRules)}.Open(path)
	})
	if err != nil {
		return err
	}
	inputs.Warn(cmd, path, obj.Warnings())
	p, err := await.Work(cmd.Context(), func() (*loader.Program, error) {
		return loader.Generate(obj, &loader.GenerateOptions{Attach: attach})
	})
	if err != nil {
		return err
	}
	if err := p.WriteFile(to); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s: instructions %d, blob %d bytes, maps %d, programs %d\n", visible.Name(to), p.Insns(), p.Blob(), len(p.Maps()), len(p.Programs()))
	for _, n := range p.Needs() {
		fmt.Fprintf(w, "  needs %s for %s\n", n.Capability, visible.Line(n.Why))
	}
	for _, s := range p.Settings() {
		fmt.Fprintf(w, "  the runtime sets %s\n", visible.Line(fmt.Sprint(s)))
	}
	return nil
}
