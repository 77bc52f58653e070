package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/binary"
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

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// guest runs in the guest. It measures the objects whose paths are lines of standard input. It
// prints a line of fields with tabs between them for each object and way, and then endMark.
func guest(args []string) error {
	r := runner{dir: os.TempDir(), target: target.New()}
	flags := flag.NewFlagSet("load-times -guest", flag.ExitOnError)
	flags.IntVar(&r.rounds, "rounds", 3, "how often each load is done")
	flags.StringVar(&r.libbpf, "libbpf", "", "libbpf-times")
	flags.DurationVar(&r.limit, "limit", time.Minute, "how long one load may take")
	key := flags.String("key", "", "private key for the way signed")
	cert := flags.String("cert", "", "its certificate")
	profile := flags.Bool("profile", false, "do not measure how long loads take but where the kernel spends them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *profile {
		t, err := newTracer()
		if err != nil {
			return err
		}
		r.tracer = &t
	}
	if *key != "" {
		var err error
		if r.key, _, err = sign.ReadKey(*key); err != nil {
			return err
		}
		if r.cert, err = sign.ReadCertificate(*cert); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		r.object(nameOf(lines.Text()), lines.Text())
	}
	fmt.Println(endMark)
	return lines.Err()
}

// endMark is the last line that the guest prints.
const endMark = "# end"

func nameOf(path string) string { return strings.TrimSuffix(filepath.Base(path), ".bpf.o") }

// slow is the limit for a load by libbpf. Objects that take longer are left out, because nearly all
// of the time is the verifier's.
const slow = 400 * time.Millisecond

// times are those of one process: open, load, verify, run and the bytes of the loader program,
// fresh and warm.
type times [10]int64

// keep keeps the shorter loads, each with its parts.
func (t *times) keep(n times) {
	for i := 0; i < len(t); i += 5 {
		if t[i+1] == 0 || n[i+1] < t[i+1] {
			copy(t[i+1:i+5], n[i+1:i+5])
		}
		if t[i] == 0 || n[i] < t[i] {
			t[i] = n[i]
		}
	}
}

type runner struct {
	rounds      int
	limit       time.Duration
	libbpf, dir string
	target      *target.Target
	tracer      *tracer       // nil if times are measured
	key         crypto.Signer // nil if nothing is signed
	cert        *x509.Certificate
}

type way struct {
	name   string
	args   []string
	best   times
	failed error
}

func (r *runner) object(name, path string) {
	for _, way := range []string{"direct", "light"} {
		t, err := r.once([]string{r.libbpf, way, path})
		switch {
		case err != nil:
			fmt.Printf("%s\tlibbpf %s\t%s\n", name, way, oneLine(err))
			return
		case t[1] > int64(slow):
			fmt.Printf("%s\tlibbpf %s\ttakes %s, more than is measured\n", name, way, time.Duration(t[1]))
			return
		}
	}
	self := []string{"/proc/self/exe", childFlag}
	file, files, programs, skip, err := r.generate(path)
	ways := []*way{
		{name: "cilium", args: append(self, "cilium", path, skip)},
		{name: "trace", args: append(self, "trace", path)},
		{name: "load", args: append(self, "load", path)},
		{name: "libbpf", args: []string{r.libbpf, "direct", path}},
		{name: "libbpf-light", args: []string{r.libbpf, "light", path}},
		{name: "replay", args: append(self, "replay", file), failed: err},
		{name: "replay-c", args: append([]string{r.libbpf, "run"}, files...), failed: err},
	}
	if r.key != nil {
		signed, err := r.sign(file)
		ways = append(ways, &way{name: waySigned, args: append(self, waySigned, signed), failed: err})
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
			result, detail = "failed", oneLine(w.failed)
		}
		fmt.Printf("%s\t%s\t%s", name, w.name, result)
		for _, t := range w.best {
			fmt.Printf("\t%d", t)
		}
		fmt.Printf("\t%d\t%s\n", programs, detail)
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// generate writes a loader program, and the parts of it that the C code needs, into files. It
// returns their paths, the number of programs, and the names of programs that are not loaded.
func (r *runner) generate(path string) (file string, files []string, programs int, skip string, err error) {
	obj, err := object.Open(path)
	if err != nil {
		return "", nil, 0, "", err
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
		return "", nil, 0, skip, err
	}
	programs = len(t.Programs)
	a, err := emit.Emit(t)
	if err != nil {
		return "", nil, programs, skip, err
	}
	blob, ctx, err := replay.Inputs(a, replay.Options{Target: r.target})
	if err != nil {
		return "", nil, programs, skip, err
	}
	var results []byte
	for _, s := range a.Steps {
		results = binary.NativeEndian.AppendUint32(results, uint32(s.Result))
	}
	whole, err := a.MarshalBinary()
	file = filepath.Join(r.dir, "artefact")
	for name, data := range map[string][]byte{"artefact": whole, "insns": a.Insns, "blob": blob, "context": ctx, "results": results} {
		err = errors.Join(err, os.WriteFile(filepath.Join(r.dir, name), data, 0o600))
	}
	for _, name := range []string{"insns", "blob", "context", "results"} {
		files = append(files, filepath.Join(r.dir, name))
	}
	return file, files, programs, skip, err
}

// sign signs an artefact beside it.
func (r *runner) sign(path string) (string, error) {
	a, err := artefact.ReadFile(path)
	if err != nil {
		return "", err
	}
	if err := sign.Sign(a, r.key, r.cert); err != nil {
		return "", err
	}
	data, err := a.MarshalBinary()
	if err != nil {
		return "", err
	}
	signed := path + ".signed"
	return signed, os.WriteFile(signed, data, 0o600)
}

// once runs a process that loads, and waits until the kernel has freed its programs.
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
		"cilium": cilium, "trace": traced, "load": loaded, "replay": replayed(""), waySigned: replayed("user"),
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
		fmt.Printf("%d %d 0 0 0\n", open, load)
	}
	return nil
}

// cilium loads with cilium/ebpf. It leaves out the named programs of SEC("?…"), which cilium/ebpf
// would load.
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
	c, err := p.Load(&loader.LoadOptions{PinPath: pins})
	if err != nil {
		return 0, 0, err
	}
	load = time.Since(start)
	c.Close()
	return open, load, nil
}

// replayed loads a file that gen or sign wrote.
func replayed(keyring string) func(args []string, pins string) (open, load time.Duration, err error) {
	return func(args []string, pins string) (open, load time.Duration, err error) {
		start := time.Now()
		a, err := artefact.ReadFile(args[0])
		if err != nil {
			return 0, 0, err
		}
		open = time.Since(start)
		start = time.Now()
		r, err := replay.Load(a, replay.Options{Options: target.Options{PinPath: pins}, Keyring: keyring})
		if err != nil {
			return 0, 0, err
		}
		load = time.Since(start)
		r.Close()
		return open, load, nil
	}
}
