package artefacts

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/skelgen"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// skeletonFlags are the flags of gen --go and gen --c.
type skeletonFlags struct {
	golang, c        bool
	pkg, ident, stem string
	target, cc       string
	types            cli.Each
	artefact         string
}

func (f *skeletonFlags) add(cmd *cobra.Command) {
	f.pkg, f.target = os.Getenv("GOPACKAGE"), "bpfel"
	cli.AddFlags(cmd, cli.Flags{
		"go": &f.golang, "c": &f.c, "pkg": &f.pkg, "ident": &f.ident, "output-stem": &f.stem, "target": &f.target, "cc": &f.cc, "type": &f.types,
		"artefact": &f.artefact,
	})
}

// LongFlags adds a second dash to the flags of gen that have one, as in bpf2go and other tools for
// go generate.
func LongFlags(args []string) []string {
	if len(args) == 0 || args[0] != "gen" {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		if slices.Contains([]string{"-go", "-pkg", "-ident", "-output-stem", "-target", "-cc", "-type"}, name) {
			args[i] = "-" + arg
		}
	}
	return args
}

// run writes the skeleton of an object or of a C source.
func (f *skeletonFlags) run(cmd *cobra.Command, args []string, out string, opts object.Options) error {
	flags := []string(nil)
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		args, flags = args[:n], args[n:]
	}
	switch {
	case f.golang && f.c:
		return errors.New("--go and --c: one skeleton at a time")
	case len(args) != 1:
		return fmt.Errorf("a skeleton is made of one object, not of %d", len(args))
	case f.cc == "" && len(flags) > 0:
		return errors.New("flags of a compiler follow -- but there is no --cc to give them to")
	case f.golang && f.pkg == "":
		return errors.New("which package? Give --pkg, or run by go generate")
	}
	target, err := skelgen.FindTarget(f.target)
	if err != nil {
		return err
	}
	path := args[0]
	if f.cc != "" {
		dir, err := os.MkdirTemp("", "bpfreplay-gen-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		path = filepath.Join(dir, name+".o")
		if err := compile(cmd, f.cc, args[0], path, target, flags); err != nil {
			return err
		}
	}
	obj, err := opts.Open(path)
	if err != nil {
		return err
	}
	a, err := emit.Generate(obj, trace.Options{})
	if err != nil {
		return err
	}
	file, err := a.MarshalBinary()
	if err != nil {
		return err
	}
	if f.artefact != "" {
		if file, err = signedFile(f.artefact, file); err != nil {
			return err
		}
	}
	out = cmp.Or(out, ".")
	if f.c {
		return f.writeC(cmd, obj, file, out)
	}
	return f.writeGo(cmd, obj, file, out, target)
}

// signedFile reads a file that sign wrote. Except for the signatures it must equal what gen writes
// for the object.
func signedFile(path string, file []byte) ([]byte, error) {
	a, err := artefact.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signed, err := a.MarshalBinary()
	if err != nil {
		return nil, err
	}
	a.Signed = nil
	unsigned, err := a.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(unsigned, file) {
		return nil, fmt.Errorf("--artefact %s: it is not what gen writes of the object: run gen and sign again", path)
	}
	return signed, nil
}

func (f *skeletonFlags) writeGo(cmd *cobra.Command, obj *object.Object, file []byte, dir string, target skelgen.Target) error {
	ident := cmp.Or(f.ident, skelgen.Identifier(obj.Name))
	stem := cmp.Or(f.stem, strings.ToLower(ident)) + "_" + target.Suffix
	code, err := skelgen.Go(obj, file, skelgen.GoOptions{Package: f.pkg, Ident: ident, File: stem + artefactSuffix, Constraint: target.Constraint, Types: f.types})
	if err != nil {
		return err
	}
	return write(cmd, dir, map[string][]byte{stem + artefactSuffix: file, stem + ".go": code})
}

func write(cmd *cobra.Command, dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := renameio.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", path, len(data))
	}
	return nil
}

// compile compiles a C source to an object with the flags of bpf2go.
func compile(cmd *cobra.Command, cc, source, object string, target skelgen.Target, flags []string) error {
	words := strings.Fields(cc)
	if len(words) == 0 {
		return errors.New("--cc names no compiler")
	}
	args := append(words[1:], "-O2", "-mcpu=v1")
	args = append(args, flags...)
	if target.Linux != "" {
		args = append(args, "-D__TARGET_ARCH_"+target.Linux)
	}
	// Debian has the architecture-specific part of linux/types.h in a directory that clang only
	// searches when it compiles for that architecture.
	if a, ok := arch.Find(arch.Native); ok {
		args = append(args, "-idirafter", "/usr/include/"+a.Triplet)
	}
	args = append(args, "-g", "-target", target.Clang, "-fno-ident", "-fdebug-compilation-dir", ".", "-c", source, "-o", object)
	said, err := exec.CommandContext(cmd.Context(), words[0], args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile %s: %s: %w\n%s", source, cc, err, bytes.TrimRight(said, "\n"))
	}
	_, _ = cmd.ErrOrStderr().Write(said) // warnings
	return nil
}

func (f *skeletonFlags) writeC(cmd *cobra.Command, obj *object.Object, file []byte, dir string) error {
	name := cmp.Or(f.ident, skelgen.CName(obj.Name))
	stem := cmp.Or(f.stem, name)
	code, err := skelgen.C(obj, file, skelgen.COptions{Name: name})
	if err != nil {
		return err
	}
	return write(cmd, dir, map[string][]byte{stem + ".lskel.h": code})
}
