// Command load-each loads BPF objects with our trace and our loader program,
// each program of an object by itself if need be: what libbpf-baseline.c does
// with libbpf. scripts/kernel-replay.py runs it in guests.
//
//	load-each [-limit DURATION] DIRECTORY <LIST
//
// Each line of LIST names an object, or an object and a program of it that is
// to be loaded alone: "name" or "name/program", for the file
// DIRECTORY/name.bpf.o. Standard output gets a line for each and each engine,
// with fields separated by tabs, and "# end". Times are in nanoseconds, sizes in
// bytes.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/issue"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

func main() {
	limit := flag.Duration("limit", 5*time.Minute, "how long one load may take; the program ends if one takes longer")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Println("name\tengine\tresult\terrno\tgenerate_ns\tload_ns\tinsns\tblob\tmaps\tprogs\tdetail\tlog")
	r := runner{dir: flag.Arg(0), limit: *limit, target: target.New()}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		r.each(lines.Text())
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "load-each:", err)
		os.Exit(2)
	}
	fmt.Println("# end")
}

type runner struct {
	dir    string
	limit  time.Duration
	target *target.Target
}

// result is what becomes of one name and one engine.
type result struct {
	generate, load time.Duration
	insns, blob    int
	maps, programs int
}

func (r *runner) each(name string) {
	file, program, alone := strings.Cut(name, "/")
	engines := []struct {
		name string
		load func(*object.Object, trace.Options, *result) error
	}{{"trace", r.trace}, {"replay", r.replay}}
	for _, e := range engines {
		watch := time.AfterFunc(r.limit, func() {
			print(name, e.name, "timeout", nil, &result{})
			os.Exit(1)
		})
		var res result
		err := r.load(file, program, alone, e.load, &res)
		watch.Stop()
		if err != nil {
			print(name, e.name, "refused", err, &res)
			continue
		}
		print(name, e.name, "ok", nil, &res)
	}
}

func (r *runner) load(file, program string, alone bool, load func(*object.Object, trace.Options, *result) error, res *result) error {
	obj, err := loader.Open(filepath.Join(r.dir, file+".bpf.o"))
	if err != nil {
		return err
	}
	var opts trace.Options
	if alone {
		opts.Autoload = only(obj, program)
	}
	return load(obj, opts, res)
}

// only turns off all programs but one. Those of struct_ops maps are left to
// the maps, as libbpf has it.
func only(obj *object.Object, program string) map[string]bool {
	load := make(map[string]bool)
	for _, f := range obj.Functions {
		if !f.Subprog && !strings.HasPrefix(strings.TrimPrefix(f.Section, "?"), "struct_ops") {
			load[f.Name] = f.Name == program
		}
	}
	return load
}

func (r *runner) trace(obj *object.Object, opts trace.Options, res *result) error {
	start := time.Now()
	t, err := trace.Plan(obj, opts)
	if err != nil {
		return err
	}
	res.generate = time.Since(start)
	opt, unpin, err := pins()
	if err != nil {
		return err
	}
	defer unpin()
	start = time.Now()
	loaded, err := issue.Issue(t, r.target, opt)
	if err != nil {
		return err
	}
	res.load = time.Since(start)
	res.maps, res.programs = count(loaded.Maps), count(loaded.Programs)
	loaded.Close()
	return nil
}

func (r *runner) replay(obj *object.Object, opts trace.Options, res *result) error {
	start := time.Now()
	p, err := loader.Generate(obj, &loader.Options{Options: opts})
	if err != nil {
		return err
	}
	res.generate = time.Since(start)
	res.insns, res.blob = len(p.Insns), len(p.Blob)
	opt, unpin, err := pins()
	if err != nil {
		return err
	}
	defer unpin()
	start = time.Now()
	fds, err := p.LoadFDs(&loader.LoadOptions{Options: opt, Target: r.target})
	if err != nil {
		return err
	}
	res.load = time.Since(start)
	res.maps, res.programs = count(fds.Maps), count(fds.Programs)
	fds.Close()
	return nil
}

// count counts fds; -1 is none.
func count(fds []int) int {
	n := 0
	for _, fd := range fds {
		if fd >= 0 {
			n++
		}
	}
	return n
}

// pins is where maps are pinned that the object wants pinned: a directory for
// each load, so that the next does not find them.
func pins() (target.Options, func(), error) {
	dir, err := os.MkdirTemp("/sys/fs/bpf", "load-each-")
	if err != nil {
		return target.Options{}, nil, err
	}
	return target.Options{PinPath: dir}, func() { os.RemoveAll(dir) }, nil
}

func print(name, engine, word string, err error, r *result) {
	var errno unix.Errno
	var code, detail, log string
	if errors.As(err, &errno) {
		code = unix.ErrnoName(errno)
	}
	if err != nil {
		detail = err.Error()
	}
	var step *trace.StepError
	var run *loader.RunError
	switch {
	case errors.As(err, &step):
		log = trace.LastLine(step.Log)
	case errors.As(err, &run):
		log = trace.LastLine(run.Log)
	}
	fmt.Printf("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", name, engine, word, code,
		r.generate, r.load, r.insns, r.blob, r.maps, r.programs, oneLine(detail), oneLine(log))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
