// Package skelprog builds the programs that the engines skel-go and skel-c run: light
// skeletons of objects, compiled with the code that a user would write around them.
//
// A program has the skeletons of all objects of a run, because a guest has little memory
// and a Go program for each object takes megabytes. Its arguments are the key of an object
// (see [Key]) and a directory for pins. For each program of the object that replaces a
// function of another, it inherits the other's fd: 4, 5 and so on. It talks to the engine
// over fd 3, a SOCK_SEQPACKET socket:
//
//   - it opens and loads the skeleton and sends the fds of all maps, then those of all
//     programs, in the artefact's order, in messages "f" of up to 200 fds;
//   - it closes the skeleton and exits with status 0.
//
// If that fails it prints the number of the errno, a line about what failed and the
// verifier's log, and exits with status 1.
package skelprog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/skelgen"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

//go:embed driver.go.txt driver.c.txt
var drivers embed.FS

// Object is an object to make a skeleton of.
type Object struct {
	Name string // base name of the file
	Data []byte
}

// Key returns the name by which a program finds the skeleton of an object.
func Key(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data))[:16] }

// Build writes the program of the engine skel-go or skel-c for an architecture ("" is this
// machine's) into dir, named after the engine, and returns its path. An object that gen refuses has
// no skeleton. If only the language's generator refuses it, the program reports that error when it
// is run. The sources stay in dir.
func Build(ctx context.Context, engine, of, dir string, objects []Object) (string, error) {
	target, err := arch.Parse(cmp.Or(of, arch.Native))
	if err != nil {
		return "", err
	}
	src, bin := filepath.Join(dir, engine+".src"), filepath.Join(dir, engine)
	if err := os.RemoveAll(src); err != nil {
		return "", err
	}
	build := buildGo
	if engine == enginename.SkelC {
		build = buildC
	}
	var list []skeleton
	seen := make(map[string]bool)
	for i := range objects {
		s, ok := newSkeleton(&objects[i])
		if ok && !seen[s.key] {
			s.n = len(list)
			list = append(list, s)
		}
		seen[s.key] = true
	}
	src, err = filepath.Abs(src)
	if err != nil {
		return "", err
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		return "", err
	}
	if err := build(ctx, target, src, bin, list); err != nil {
		return "", fmt.Errorf("build the skeletons of engine %s: %w", engine, err)
	}
	return bin, nil
}

// skeleton is the skeleton of one object.
type skeleton struct {
	n              int
	key            string
	obj            *object.Object
	file           []byte // the artefact
	replaces       []int  // indices of programs that replace a function of another program
	maps, programs int
	pins           bool // it has maps that are pinned by name
}

// newSkeleton makes the artefact. ok is false if the object cannot be opened or generated.
func newSkeleton(o *Object) (s skeleton, ok bool) {
	s.key = Key(o.Data)
	obj, err := object.OpenBytes(o.Data, o.Name)
	if err != nil {
		return s, false
	}
	a, err := emit.Generate(obj, trace.Options{})
	if err != nil {
		return s, false
	}
	s.obj, s.maps, s.programs = obj, len(a.Maps), len(a.Programs)
	s.pins = slices.ContainsFunc(a.Maps, func(m artefact.Map) bool { return m.Pinned })
	for i := range a.Programs {
		if a.Programs[i].Replaces != "" {
			s.replaces = append(s.replaces, i)
		}
	}
	s.file, err = a.MarshalBinary()
	return s, err == nil
}

// together is the number of skeletons in a Go package. The compiler takes longer for a package than
// for a skeleton.
const together = 64

func buildGo(ctx context.Context, of *arch.Arch, src, bin string, list []skeleton) error {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return errors.New("the go command is missing: install Go 1.26 or later")
	}
	root, err := moduleDir(ctx, goCommand)
	if err != nil {
		return err
	}
	files := map[string]string{
		"go.mod":  "module example.com/skeletons\n\ngo 1.26.0\n",
		"go.work": fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%q\n)\n", root),
	}
	if files["driver/driver.go"], err = driver("driver.go.txt"); err != nil {
		return err
	}
	main, table := "package main\n\nimport (\n\t\"example.com/skeletons/driver\"\n", map[string]string{}
	for _, s := range list {
		pkg, ident := fmt.Sprintf("p%d", s.n/together), fmt.Sprintf("S%dx", s.n)
		if table[pkg] == "" {
			main += fmt.Sprintf("\t_ \"example.com/skeletons/%s\"\n", pkg)
			table[pkg] = fmt.Sprintf("package %s\n\nimport \"example.com/skeletons/driver\"\n\nfunc init() {\n", pkg)
		}
		o := skelgen.GoOptions{Package: pkg, Ident: ident, File: ident + ".bpfreplay"}
		code, err := skelgen.Go(s.obj, s.file, o)
		if err != nil {
			table[pkg] += fmt.Sprintf("\tdriver.Refuse(%q, %q)\n", s.key, err.Error())
			continue
		}
		table[pkg] += fmt.Sprintf("\tdriver.Add(%q, func() (driver.Skeleton, error) { return Open%s() })\n", s.key, ident)
		files[pkg+"/"+ident+".go"], files[pkg+"/"+o.File] = string(code), string(s.file)
	}
	for pkg, text := range table {
		files[pkg+"/table.go"] = text + "}\n"
	}
	files["main.go"] = main + ")\n\nfunc main() { driver.Main() }\n"
	if err := write(src, files); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, goCommand, "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+of.Name, "GOFLAGS=", "GOWORK="+filepath.Join(src, "go.work"))
	return compiled(cmd)
}

// moduleDir returns the source directory of this module: the current directory's, or that of the
// dependency.
func moduleDir(ctx context.Context, goCommand string) (string, error) {
	module, _, _ := strings.Cut(skelgen.Runtime, "/loader/")
	cmd := exec.CommandContext(ctx, goCommand, "list", "-m", "-f", "{{.Dir}}", module)
	out, err := cmd.Output()
	if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
		return dir, nil
	}
	return "", fmt.Errorf("skeletons import %s, and the module of the current directory has no %s: run in a clone of it, or in a module that requires it",
		skelgen.Runtime, module)
}

func driver(name string) (string, error) {
	text, err := drivers.ReadFile(name)
	return string(text), err
}

func buildC(ctx context.Context, of *arch.Arch, src, bin string, list []skeleton) error {
	cc, err := compiler(of)
	if err != nil {
		return err
	}
	main, err := driver("driver.c.txt")
	if err != nil {
		return err
	}
	files := make(map[string]string)
	includes, table := "", "static const struct skeleton skeletons[] = {\n"
	for _, s := range list {
		name := fmt.Sprintf("s%d", s.n)
		code, err := skelgen.C(s.obj, s.file, skelgen.COptions{Name: name})
		if err != nil {
			table += fmt.Sprintf("\t{%q, NULL, %q},\n", s.key, err.Error())
			continue
		}
		files[name+".lskel.h"] = string(code)
		includes += fmt.Sprintf("#include \"%s.lskel.h\"\n", name)
		table += fmt.Sprintf("\t{%q, run_%s, NULL},\n", s.key, name)
		maps, programs := "NULL", "NULL"
		if s.maps > 0 {
			maps = "&s->maps"
		}
		if s.programs > 0 {
			programs = "&s->progs"
		}
		set := "(void)pins; "
		if s.pins {
			set = "s->pin_path = pins; "
		}
		for i, p := range s.replaces {
			set += fmt.Sprintf("((struct bpf_prog_desc *)&s->progs)[%d].prog_fd = SOCKET + 1 + %d; ", p, i)
		}
		files["run.h"] += fmt.Sprintf("RUN(%s, %s, %d, %s, %d, %s)\n", name, maps, s.maps, programs, s.programs, set)
	}
	files["main.c"] = includes + strings.Replace(main, "/* TABLE */", "#include \"run.h\"\n"+table+"\t{NULL, NULL, NULL}\n};\n", 1)
	files["run.h"] += "\n"
	if err := write(src, files); err != nil {
		return err
	}
	// Link statically: a guest has no shared libraries.
	cmd := exec.CommandContext(ctx, cc, "-static", "-O1", "-Wall", "-Werror", "-o", bin, "main.c")
	cmd.Dir = src
	return compiled(cmd)
}

func compiler(of *arch.Arch) (string, error) {
	names := []string{of.Triplet + "-gcc"}
	if of.Name == arch.Native {
		names = []string{"cc", "gcc", "clang"}
	}
	if cc := os.Getenv("CC"); cc != "" {
		names = []string{cc}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no C compiler for %s (%s): install Debian's packages gcc and libc6-dev (or crossbuild-essential-%s), or name one with CC",
		of.Name, strings.Join(names, ", "), of.Name)
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compiled runs a compiler. The error contains the start of its output.
func compiled(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if len(text) > 4000 {
		text = text[:4000] + "…"
	}
	return fmt.Errorf("%s in %s: %w\n%s", filepath.Base(cmd.Path), cmd.Dir, err, text)
}
