// Command load-times measures how long loads of the Linux selftests take, in ways that can be
// compared: each load in a new process, all ways of one object after one another, in
// one guest.
//
//	go run ./scripts/load-times [-kernel KERNEL] [-rounds N] [-icount] [-signed] [-profile] [-out DIRECTORY] [OBJECT...]
//
// Without names of objects it measures all that libbpf loads both ways, unless that took it
// 0.4 s. `bpfreplay suite fetch kernel` has to be run first; gcc and the static
// libraries that libbpf needs (libelf-dev, zlib1g-dev) have to be there.
//
// The ways, and what is timed of each:
//
//	cilium         open: LoadCollectionSpec; load: NewCollection
//	trace          open: Open and Plan; load: Issue
//	load           open: Open and Generate; load: Load
//	replay         open: ReadFile of what gen has written; load: Load
//	replay-c       the same loader program, run by C code (scripts/libbpf-times.c)
//	libbpf         open: bpf_object__open_file; load: bpf_object__load
//	libbpf-light   open: bpf_object__gen_loader; load: running what that made, by the same C code
//	signed         with -signed (6.18 and later): as replay, of the same file signed by an RSA key
//
// A process loads twice: what it takes the first time is fresh, the second time
// warm. Of each the shortest of all rounds counts. A busy machine makes times longer,
// though it hits all ways alike. With -icount QEMU counts instructions, and a
// nanosecond of the guest is one of them: that does not depend on the machine, and one
// round will do. With -profile each way is run once, and the output says how much of
// it the kernel spent in which of its functions: those named in profile.go, each
// without the others; ">" are those that a loader program called. Both loads of
// a process are in it.
//
// docs/load-times.md is what came of it. DIRECTORY (out/load-times) gets KERNEL-WHAT.tsv with
// all that was measured and KERNEL-WHAT.txt, which is printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// First arguments of this program where it measures, and where it loads.
const (
	guestFlag = "-guest"
	childFlag = "-child"
)

func main() {
	run := host
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == guestFlag:
		run, args = guest, args[1:]
	case len(args) > 1 && args[0] == childFlag:
		run, args = func(args []string) error { return child(args[0], args[1:]) }, args[1:]
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "load-times:", err)
		os.Exit(2)
	}
}

// session is one measurement.
type session struct {
	kernel          string
	rounds          int
	icount, profile bool
	signed          bool
	out             string

	dir      string // temporary
	self     string // this program, static
	command  string // bpfreplay
	libbpf   string // libbpf-times
	key      string // signs, or empty
	cert     string
	objects  []string
	rows     [][]string
	leftOver []string // why objects are left out
}

func host(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var s session
	flags := flag.NewFlagSet("load-times", flag.ExitOnError)
	flags.StringVar(&s.kernel, "kernel", "6.12", "a name in kernels.yaml")
	flags.IntVar(&s.rounds, "rounds", 3, "how often each load is done")
	flags.BoolVar(&s.icount, "icount", false, "count instructions")
	flags.BoolVar(&s.profile, "profile", false, "see where the kernel spends it")
	flags.BoolVar(&s.signed, "signed", false, "load signed files, too")
	flags.StringVar(&s.out, "out", filepath.Join("out", "load-times"), "directory for results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "load-times-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := s.prepare(ctx, flags.Args()); err != nil {
		return err
	}
	for len(s.objects) > 0 {
		if err := s.measure(ctx); err != nil {
			return err
		}
	}
	return s.report()
}

// prepare finds the objects and builds what goes into the guest.
func (s *session) prepare(ctx context.Context, names []string) error {
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := suites.Read(store, "kernel")
	if err != nil {
		return err
	}
	for _, o := range c.Compiled(store) {
		s.objects = append(s.objects, o.File)
	}
	if len(names) > 0 {
		s.objects = slices.DeleteFunc(s.objects, func(path string) bool { return !slices.Contains(names, nameOf(path)) })
	}
	for _, n := range names {
		if !slices.ContainsFunc(s.objects, func(path string) bool { return nameOf(path) == n }) {
			return fmt.Errorf("suite kernel has no object %s", n)
		}
	}
	s.self, s.command, s.libbpf = filepath.Join(s.dir, "load-times"), filepath.Join(s.dir, "bpfreplay"), filepath.Join(s.dir, "libbpf-times")
	for path, pkg := range map[string]string{s.self: "./scripts/load-times", s.command: "./cmd/bpfreplay"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := told(build); err != nil {
			return err
		}
	}
	if s.signed {
		s.key, s.cert = filepath.Join(s.dir, "key.pem"), filepath.Join(s.dir, "cert.pem")
		if err := told(exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", s.key, "-out", s.cert,
			"-subj", "/CN=load-times", "-addext", "subjectKeyIdentifier=hash", "-addext", "keyUsage=digitalSignature")); err != nil {
			return err
		}
	}
	libraries, err := exec.CommandContext(ctx, "pkg-config", "--static", "--libs", "libelf", "zlib").Output()
	if err != nil {
		return fmt.Errorf("pkg-config: %w; libelf-dev and zlib1g-dev are needed", err)
	}
	tools := filepath.Dir(c.Tool(store))
	cc := []string{
		"-static", "-O2", "-g", "-Wall", "-Wextra", "-o", s.libbpf, "scripts/libbpf-times.c",
		"-isystem", filepath.Join(tools, "include"), "-I" + filepath.Join(c.SourceDir(store), "tools/include/uapi"), filepath.Join(tools, "libbpf.a"),
	}
	return told(exec.CommandContext(ctx, "gcc", append(cc, strings.Fields(string(libraries))...)...))
}

// told runs a command, and has what it says in the error.
func told(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(len(cmd.Args), 3)], " "), err, out)
	}
	return nil
}

// measure measures the objects in one guest. If that breaks, the object at which it broke
// is left out, and those behind it are left.
func (s *session) measure(ctx context.Context) error {
	args := []string{"exec", "--kernel", s.kernel, "--memory", "2048", "--timeout", "24h", "--append", "mitigations=off", "--with", s.libbpf}
	if s.icount {
		qemu, err := s.counting()
		if err != nil {
			return err
		}
		args = append(args, "--accel", "tcg", "--cold", "--qemu", qemu)
	}
	for _, o := range s.objects {
		args = append(args, "--with", o)
	}
	if s.signed {
		args = append(args, "--cert", s.cert, "--with", s.cert, "--with", s.key)
	}
	args = append(args, "--", s.self, guestFlag, "-libbpf", s.libbpf, fmt.Sprintf("-rounds=%d", s.rounds), fmt.Sprintf("-profile=%t", s.profile), "-key="+s.key, "-cert="+s.cert)
	cmd := exec.CommandContext(ctx, s.command, args...)
	cmd.Stdin = strings.NewReader(strings.Join(s.objects, "\n") + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ended, last := false, ""
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case fields[0] == endMark:
			ended = true
		case len(fields) == 3:
			s.leftOver, last = append(s.leftOver, strings.Join(fields, ": ")), fields[0]
		case len(fields) > 3:
			s.rows, last = append(s.rows, fields), fields[0]
		}
	}
	if ended {
		s.objects = nil
		return err
	}
	done := slices.IndexFunc(s.objects, func(o string) bool { return nameOf(o) == last }) + 1
	if err == nil {
		err = errors.New("it ended early")
	}
	if done == len(s.objects) || done == 0 && len(s.rows) == 0 && len(s.leftOver) == 0 {
		return fmt.Errorf("the guest broke: %w", err)
	}
	fmt.Fprintf(os.Stderr, "the guest broke at %s: %v\n", nameOf(s.objects[done]), err)
	s.objects = s.objects[done+1:]
	return nil
}

// counting is a QEMU whose guests' clock counts instructions.
func (s *session) counting() (string, error) {
	a, err := arch.Parse(arch.Native)
	if err != nil {
		return "", err
	}
	qemu, err := exec.LookPath(a.QEMU)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, "qemu")
	// Not for questions about what it can do.
	text := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -kernel '*) exec %s \"$@\" -icount shift=0,sleep=off ;; esac\nexec %s \"$@\"\n", qemu, qemu)
	return path, os.WriteFile(path, []byte(text), 0o755)
}
