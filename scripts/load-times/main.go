// Command load-times measures how long loads take, in ways that can be
// compared: each load in a new process, all ways of one object after one
// another in one guest. scripts/kernel-replay.py --times runs it in guests.
//
//	load-times [-rounds N] [-profile] [-baseline PROGRAM] DIRECTORY <LIST
//
// Each line of LIST names an object, DIRECTORY/name.bpf.o. Standard output gets
// a line for each object and way, with fields separated by tabs, and "# end".
//
// The ways, and what is timed of each:
//
//	cilium         open: LoadCollectionSpec; load: NewCollection
//	trace          open: Open and Plan; load: Issue
//	load           open: Open and Generate; load: LoadFDs
//	replay         load: Raw.Run of a loader program that is in memory
//	replay-c       the same loader program, run by C code (PROGRAM -1 run)
//	libbpf         open: bpf_object__open_file; load: bpf_object__load
//	libbpf-light   open: bpf_object__gen_loader; load: running what that made, by the same C code
//
// A process loads twice: what it takes the first time is fresh, the second time
// warm. Of each the shortest of all rounds counts. Times are in nanoseconds.
//
// With -profile each way is run once, and the output says how much of it the
// kernel spent in which of its functions: those named in profile.go, each
// without the others; ">" are those that a loader program called. Both loads of
// a process are in it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/emit"
	"github.com/bpfreplay/bpfreplay/loader/issue"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-1" {
		if err := child(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	r := runner{dir: os.TempDir(), target: target.New()}
	flag.IntVar(&r.rounds, "rounds", 3, "how often each load is done")
	flag.StringVar(&r.baseline, "baseline", "/init", "libbpf-baseline")
	flag.DurationVar(&r.limit, "limit", time.Minute, "how long one load may take")
	profile := flag.Bool("profile", false, "do not measure how long loads take but where the kernel spends them")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if *profile {
		t, err := newTracer()
		if err != nil {
			fmt.Fprintln(os.Stderr, "load-times:", err)
			os.Exit(2)
		}
		r.tracer = &t
		fmt.Println("name\tway\tfunction\tns")
	} else {
		fmt.Println("name\tway\tresult\topen_ns\tload_ns\tverify_ns\trun_ns\twarm_open_ns\twarm_load_ns\twarm_verify_ns\twarm_run_ns\tinsns\tblob\tprograms\tdetail")
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		r.object(lines.Text(), filepath.Join(flag.Arg(0), lines.Text()+".bpf.o"))
	}
	fmt.Println("# end")
}

// times are those of one process: open, load, verify and run, fresh and warm.
type times [8]int64

// keep keeps the shorter loads, each with what it is made of.
func (t *times) keep(n times) {
	for i := 0; i < len(t); i += 4 {
		if t[i+1] == 0 || n[i+1] < t[i+1] {
			copy(t[i+1:i+4], n[i+1:i+4])
		}
		if t[i] == 0 || n[i] < t[i] {
			t[i] = n[i]
		}
	}
}

type runner struct {
	rounds        int
	limit         time.Duration
	baseline, dir string
	target        *target.Target
	tracer        *tracer // nil to measure times
}

type way struct {
	name   string
	args   []string
	best   times
	failed error
}

func (r *runner) object(name, path string) {
	self := []string{"/proc/self/exe", "-1"}
	loader, programs, skip, err := r.generate(path)
	replay, replayC := append(self, "replay"), []string{r.baseline, "-1", "run"}
	ways := []*way{
		{name: "cilium", args: append(self, "cilium", path, skip)},
		{name: "trace", args: append(self, "trace", path)},
		{name: "load", args: append(self, "load", path)},
		{name: "libbpf", args: []string{r.baseline, "-1", "direct", path}},
		{name: "libbpf-light", args: []string{r.baseline, "-1", "light", path}},
		{name: "replay", args: append(replay, loader...), failed: err},
		{name: "replay-c", args: append(replayC, loader...), failed: err},
	}
	if r.tracer != nil {
		r.profile(*r.tracer, name, ways)
		return
	}
	for round := range r.rounds {
		for i := range ways {
			w := ways[(i+round)%len(ways)]
			if w.failed != nil {
				continue
			}
			t, err := r.once(w.args)
			if err != nil {
				w.failed = err
				continue
			}
			w.best.keep(t)
		}
	}
	for _, w := range ways {
		result, detail := "ok", ""
		if w.failed != nil {
			result, detail = "failed", strings.Join(strings.Fields(w.failed.Error()), " ")
		}
		fmt.Printf("%s\t%s\t%s", name, w.name, result)
		for _, t := range w.best {
			fmt.Printf("\t%d", t)
		}
		fmt.Printf("\t%d\t%d\t%d\t%s\n", size(loader, 0), size(loader, 1), programs, detail)
	}
}

func size(files []string, i int) int64 {
	if i >= len(files) {
		return 0
	}
	st, err := os.Stat(files[i])
	if err != nil {
		return 0
	}
	return st.Size()
}

// generate writes a loader program that this kernel needs nothing added to
// into files, and returns the arguments that replay takes, the number of
// programs, and the names of those that are not to be loaded.
func (r *runner) generate(path string) (args []string, programs int, skip string, err error) {
	obj, err := object.Open(path)
	if err != nil {
		return nil, 0, "", err
	}
	var names []string
	for _, f := range obj.Functions {
		if !f.Subprog && !f.Autoload {
			names = append(names, f.Name)
		}
	}
	skip = strings.Join(names, ",")
	t, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return nil, 0, skip, err
	}
	load, err := r.target.Begin(t, target.Options{})
	if err != nil {
		return nil, 0, skip, err
	}
	s, err := load.Settle()
	if err != nil {
		return nil, 0, skip, err
	}
	defer s.Discard()
	programs = len(t.Programs)
	if len(s.Given) > 0 {
		return nil, programs, skip, errors.New("maps that exist before the loader program runs")
	}
	l, err := emit.Emit(s.Trace, emit.Options{})
	if err != nil {
		return nil, programs, skip, err
	}
	insns, blob := filepath.Join(r.dir, "insns"), filepath.Join(r.dir, "blob")
	if err := errors.Join(os.WriteFile(insns, l.Insns, 0o600), os.WriteFile(blob, l.Blob, 0o600)); err != nil {
		return nil, programs, skip, err
	}
	return []string{insns, blob, strconv.Itoa(len(t.Maps)), strconv.Itoa(programs)}, programs, skip, nil
}

// once runs a process that loads, and waits for what the kernel then frees.
func (r *runner) once(args []string) (times, error) {
	var t times
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"TMPDIR=" + r.dir}
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return t, fmt.Errorf("%w: %s", err, exit.Stderr)
	case err != nil:
		return t, err
	}
	time.Sleep(20 * time.Millisecond)
	fields := strings.Fields(string(out))
	if len(fields) != len(t) {
		return t, fmt.Errorf("it says %q", out)
	}
	for i, f := range fields {
		if t[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return t, err
		}
	}
	return t, nil
}

// child loads twice in this process and prints the times.
func child(way string, args []string) error {
	dir, err := os.MkdirTemp("/sys/fs/bpf", "load-times-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fns := map[string]func([]string, string) (open, load time.Duration, err error){
		"cilium": cilium, "trace": traced, "load": loaded, "replay": replay,
	}
	for i := range 2 {
		pins := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(pins, 0o700); err != nil {
			return err
		}
		open, load, err := fns[way](args, pins)
		if err != nil {
			return err
		}
		fmt.Printf("%d %d 0 0\n", open, load)
	}
	return nil
}

// cilium loads with cilium/ebpf. It would load programs of SEC("?…"), too:
// those are named.
func cilium(args []string, pins string) (open, load time.Duration, err error) {
	start := time.Now()
	spec, err := ebpf.LoadCollectionSpec(args[0])
	if err != nil {
		return 0, 0, err
	}
	open = time.Since(start)
	for _, name := range strings.Split(args[1], ",") {
		delete(spec.Programs, name)
	}
	start = time.Now()
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: pins}})
	if err != nil {
		return 0, 0, err
	}
	load = time.Since(start)
	c.Close()
	return open, load, nil
}

func traced(args []string, pins string) (open, load time.Duration, err error) {
	start := time.Now()
	obj, err := object.Open(args[0])
	if err != nil {
		return 0, 0, err
	}
	t, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return 0, 0, err
	}
	open = time.Since(start)
	start = time.Now()
	r, err := issue.Issue(t, target.New(), target.Options{PinPath: pins})
	if err != nil {
		return 0, 0, err
	}
	load = time.Since(start)
	r.Close()
	return open, load, nil
}

func loaded(args []string, pins string) (open, load time.Duration, err error) {
	start := time.Now()
	obj, err := loader.Open(args[0])
	if err != nil {
		return 0, 0, err
	}
	p, err := loader.Generate(obj, nil)
	if err != nil {
		return 0, 0, err
	}
	open = time.Since(start)
	start = time.Now()
	fds, err := p.LoadFDs(&loader.LoadOptions{Options: target.Options{PinPath: pins}})
	if err != nil {
		return 0, 0, err
	}
	load = time.Since(start)
	fds.Close()
	return open, load, nil
}

func replay(args []string, _ string) (open, load time.Duration, err error) {
	if len(args) != 4 {
		return 0, 0, errors.New("replay takes INSTRUCTIONS BLOB MAPS PROGRAMS")
	}
	var raw loader.Raw
	var errs [4]error
	raw.Insns, errs[0] = os.ReadFile(args[0])
	raw.Blob, errs[1] = os.ReadFile(args[1])
	raw.Maps, errs[2] = strconv.Atoi(args[2])
	raw.Programs, errs[3] = strconv.Atoi(args[3])
	if err := errors.Join(errs[:]...); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	fds, err := raw.Run(loader.Inputs{})
	if err != nil {
		return 0, 0, err
	}
	load = time.Since(start)
	fds.Close()
	return 0, load, nil
}
