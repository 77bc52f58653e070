package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// loadTimes measures how long different ways to load the Linux selftests take. Each load is in a
// new process, and all ways of one object run one after the other, in one guest. docs/load-times.md
// has the ways and the results.
//
// A process loads twice: the first load is fresh, the second warm. For each the shortest of all
// rounds counts. A busy machine makes times longer, for all ways alike. With icount QEMU counts
// instructions, and a nanosecond of the guest is one instruction. This does not depend on the
// machine, so one round is enough. With profile each way runs once, and the output has the time in
// the kernel's functions that profile.go names, each without the others; ">" marks those that a
// loader program called. Both loads of a process count.
type loadTimes struct {
	*bench
	rounds                  int
	icount, profile, signed bool
	out                     string // directory

	self      string // the path of this program
	libbpf    string // of libbpf-times
	key, cert string // of the signing key and its certificate; "" for none
	objects   []string
	results   []measured
}

// measured is what the guest found out about one object and one way, a line of JSON.
type measured struct {
	Object, Way string
	LeftOut     string // why the object is not measured; "" if it is
	Failed      string // why the way does not load it; "" if it does
	Times       times
	Programs    int
	Functions   map[string]float64 // with profile: nanoseconds of both loads; else nil
}

// run measures the objects with these names, or all that libbpf loads in both ways in less than
// slow.
func (l *loadTimes) run(ctx context.Context, names []string) error {
	if err := l.prepare(ctx, names); err != nil {
		return err
	}
	for len(l.objects) > 0 {
		if err := l.measure(ctx); err != nil {
			return err
		}
	}
	return l.report()
}

// prepare finds the objects and builds what the guest needs.
func (l *loadTimes) prepare(ctx context.Context, names []string) error {
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
		if len(names) == 0 || slices.Contains(names, nameOf(o.File)) {
			l.objects = append(l.objects, o.File)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(l.objects, func(path string) bool { return nameOf(path) == n }) {
			return fmt.Errorf("suite kernel has no object %s", n)
		}
	}
	if l.self, err = os.Executable(); err != nil {
		return err
	}
	if l.signed {
		l.key, l.cert = filepath.Join(l.temp, "key.pem"), filepath.Join(l.temp, "cert.pem")
		if _, err := output(exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", l.key, "-out", l.cert,
			"-subj", "/CN=bench", "-addext", "subjectKeyIdentifier=hash", "-addext", "keyUsage=digitalSignature")); err != nil {
			return err
		}
	}
	libraries, err := output(exec.CommandContext(ctx, "pkg-config", "--static", "--libs", "libelf", "zlib"))
	if err != nil {
		return fmt.Errorf("libelf-dev and zlib1g-dev are needed: %w", err)
	}
	l.libbpf = filepath.Join(l.temp, "libbpf-times")
	tools := filepath.Dir(c.Tool(store))
	cc := []string{
		"-static", "-O2", "-g", "-Wall", "-Wextra", "-o", l.libbpf, "internal/bench/libbpf-times.c",
		"-isystem", filepath.Join(tools, "include"), "-I" + filepath.Join(c.SourceDir(store), "tools/include/uapi"), filepath.Join(tools, "libbpf.a"),
	}
	_, err = output(exec.CommandContext(ctx, "gcc", append(cc, strings.Fields(string(libraries))...)...))
	return err
}

// measure measures the objects in one guest. If the guest breaks, measure leaves out the object
// that was measured, and keeps the later ones for another guest.
func (l *loadTimes) measure(ctx context.Context) error {
	args := []string{"exec", "--kernel", l.kernel, "--memory", "2048", "--timeout", "24h", "--append", "mitigations=off", "--with", l.libbpf}
	if l.icount {
		qemu, err := l.counting()
		if err != nil {
			return err
		}
		args = append(args, "--accel", "tcg", "--cold", "--qemu", qemu)
	}
	for _, o := range l.objects {
		args = append(args, "--with", o)
	}
	if l.signed {
		args = append(args, "--cert", l.cert, "--with", l.cert, "--with", l.key)
	}
	args = append(args, "--", l.self, guestFlag, "-libbpf", l.libbpf, fmt.Sprintf("-rounds=%d", l.rounds), fmt.Sprintf("-profile=%t", l.profile), "-key="+l.key, "-cert="+l.cert)
	cmd := exec.CommandContext(ctx, "./bpfreplay", args...)
	cmd.Stdin = strings.NewReader(strings.Join(l.objects, "\n") + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	last := "" // of the objects that were measured
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var m measured
		if lines.Decode(&m) != nil {
			break
		}
		if m.Object == "" { // the guest is through
			l.objects = nil
			return err
		}
		l.results, last = append(l.results, m), m.Object
	}
	done := slices.IndexFunc(l.objects, func(o string) bool { return nameOf(o) == last }) + 1
	if err == nil {
		err = errors.New("it ended early")
	}
	if done == len(l.objects) || len(l.results) == 0 {
		return fmt.Errorf("the guest broke: %w", err)
	}
	fmt.Fprintf(os.Stderr, "the guest broke at %s: %v\n", nameOf(l.objects[done]), err)
	l.objects = l.objects[done+1:]
	return nil
}

// counting returns the path of a QEMU wrapper with which the guest's clock counts instructions.
func (l *loadTimes) counting() (string, error) {
	a, err := arch.Parse(arch.Native)
	if err != nil {
		return "", err
	}
	qemu, err := exec.LookPath(a.QEMU)
	if err != nil {
		return "", err
	}
	path := filepath.Join(l.temp, "qemu")
	// Only for runs with a kernel, not for queries of QEMU's features.
	text := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -kernel '*) exec %s \"$@\" -icount shift=0,sleep=off ;; esac\nexec %s \"$@\"\n", qemu, qemu)
	return path, os.WriteFile(path, []byte(text), 0o755)
}
