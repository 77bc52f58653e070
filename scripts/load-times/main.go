// Command load-times measures how long different ways to load the Linux selftests take. Each load
// is in a new process, and all ways of one object run one after the other, in one guest.
//
//	go run ./scripts/load-times [-kernel KERNEL] [-rounds N] [-icount] [-signed] [-profile] [-out DIRECTORY] [OBJECT...]
//
// Without names of objects it measures all that libbpf loads in both ways in less than 0.4 s. It
// needs the suite of `bpfreplay suite fetch kernel`, gcc, and the static libraries that libbpf uses
// (libelf-dev, zlib1g-dev).
//
// The ways, and what each time covers:
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
// A process loads twice: the first load is fresh, the second warm. For each the shortest of all
// rounds counts. A busy machine makes times longer, for all ways alike. With -icount QEMU counts
// instructions, and a nanosecond of the guest is one instruction. This does not depend on the
// machine, so one round is enough. With -profile each way runs once, and the output has the time in
// the kernel's functions that profile.go names, each without the others; ">" marks those that a
// loader program called. Both loads of a process count.
//
// docs/load-times.md has the results. DIRECTORY (out/load-times) gets KERNEL-WHAT.tsv with all
// measurements, and KERNEL-WHAT.txt with the printed summary.
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

// First arguments of this program in the guest: to measure, and to load.
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
	key      string // path of the signing key; "" for none
	cert     string
	objects  []string
	rows     [][]string
	leftOver []string // objects that are left out, with the reasons
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

// prepare finds the objects and builds the programs for the guest.
func (s *session) prepare(ctx context.Context, names []string) error {
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := suites.Read(store, "kernel", arch.Native)
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

// told runs a command. Its error has the command's output.
func told(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(len(cmd.Args), 3)], " "), err, out)
	}
	return nil
}

// measure measures the objects in one guest. If the guest breaks, measure leaves out the object
// that was measured, and keeps the later ones for another guest.
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

// counting returns the path of a QEMU wrapper with which the guest's clock counts instructions.
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
	// Only for runs with a kernel, not for queries of QEMU's features.
	text := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -kernel '*) exec %s \"$@\" -icount shift=0,sleep=off ;; esac\nexec %s \"$@\"\n", qemu, qemu)
	return path, os.WriteFile(path, []byte(text), 0o755)
}
