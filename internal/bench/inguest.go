package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
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

// First arguments of this program in the guest: to measure, and to load.
const (
	guestFlag = "-guest"
	childFlag = "-child"
)

// guest runs in the guest. It measures the objects whose paths are lines of standard input, and
// prints a line for each object and way. The last line has no object.
func guest(args []string) error {
	r := runner{dir: os.TempDir(), target: target.New()}
	flags := flag.NewFlagSet("bench -guest", flag.ExitOnError)
	flags.IntVar(&r.rounds, "rounds", 3, "how often each load is done")
	flags.StringVar(&r.libbpf, "libbpf", "", "libbpf-times")
	key := flags.String("key", "", "private key for the way signed")
	cert := flags.String("cert", "", "its certificate")
	profile := flags.Bool("profile", false, "do not measure how long loads take but where the kernel spends them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if *profile {
		if r.tracer, err = newTracer(); err != nil {
			return err
		}
	}
	if *key != "" {
		if r.key, _, err = sign.ReadKey(*key); err != nil {
			return err
		}
		if r.cert, err = sign.ReadCertificate(*cert); err != nil {
			return err
		}
	}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		for _, m := range r.object(lines.Text()) {
			m.Object = nameOf(lines.Text())
			if err := out.Encode(m); err != nil {
				return err
			}
		}
	}
	return errors.Join(lines.Err(), out.Encode(measured{}))
}

func nameOf(path string) string { return strings.TrimSuffix(filepath.Base(path), ".bpf.o") }

// slow is the limit for a load by libbpf. Objects that take longer are left out, because nearly all
// of the time is the verifier's.
const slow = 400 * time.Millisecond

// limit is how long one load may take.
const limit = time.Minute

// times are those of one process, in nanoseconds: of its fresh load and of its warm one.
type times [2][5]int64

// Parts of a load. The loader program is verified and run within the load.
const (
	partOpen = iota
	partLoad
	partVerify
	partRun
	partBytes // not a time: the bytes of the loader program
)

// keep keeps the shorter loads, each with its parts.
func (t *times) keep(n times) {
	for i := range t {
		if t[i][partLoad] == 0 || n[i][partLoad] < t[i][partLoad] {
			copy(t[i][partLoad:], n[i][partLoad:])
		}
		if t[i][partOpen] == 0 || n[i][partOpen] < t[i][partOpen] {
			t[i][partOpen] = n[i][partOpen]
		}
	}
}

type runner struct {
	rounds      int
	libbpf, dir string
	target      *target.Target
	tracer      tracer        // "" if times are measured
	key         crypto.Signer // nil if nothing is signed
	cert        *x509.Certificate
}

// way is one way to load an object.
type way struct {
	name   string
	args   []string // of the process that loads it
	failed error
}

// object measures an object.
func (r *runner) object(path string) []measured {
	for _, way := range []string{"direct", "light"} {
		t, err := r.once([]string{r.libbpf, way, path})
		if took := t[0][partLoad]; err == nil && took > int64(slow) {
			err = fmt.Errorf("takes %s, more than is measured", time.Duration(took))
		}
		if err != nil {
			return []measured{{Way: "libbpf " + way, LeftOut: oneLine(err)}}
		}
	}
	self := []string{"/proc/self/exe", childFlag}
	file, files, programs, skip, err := r.generate(path)
	ways := []way{
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
		ways = append(ways, way{name: waySigned, args: append(self, waySigned, signed), failed: err})
	}
	results := make([]measured, len(ways))
	rounds := r.rounds
	if r.tracer != "" {
		rounds = 1
	}
	for round := range rounds {
		for i := range ways {
			i = (i + round) % len(ways)
			if w, m := &ways[i], &results[i]; w.failed == nil {
				w.failed = r.measure(w.args, m)
			}
		}
	}
	for i, w := range ways {
		results[i].Way, results[i].Programs = w.name, programs
		if w.failed != nil {
			results[i].Failed = oneLine(w.failed)
		}
	}
	return results
}

// measure runs a process that loads, and adds what it took.
func (r *runner) measure(args []string, m *measured) (err error) {
	var took times
	if r.tracer == "" {
		if took, err = r.once(args); err == nil {
			m.Times.keep(took)
		}
		return err
	}
	functions, err := r.tracer.times(func() (err error) { took, err = r.once(args); return err })
	if err != nil {
		return err
	}
	functions["open"] = float64(took[0][partOpen] + took[1][partOpen])
	functions["load"] = float64(took[0][partLoad] + took[1][partLoad])
	m.Functions = functions
	return nil
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
	write := func(name string, data []byte) string {
		path := filepath.Join(r.dir, name)
		err = errors.Join(err, os.WriteFile(path, data, 0o600))
		return path
	}
	whole, err := a.MarshalBinary()
	files = []string{write("insns", a.Insns), write("blob", blob), write("context", ctx), write("results", results)}
	return write("artefact", whole), files, programs, skip, err
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
func (r *runner) once(args []string) (t times, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"TMPDIR=" + r.dir}
	out, err := output(cmd)
	if err != nil {
		return t, err
	}
	time.Sleep(20 * time.Millisecond)
	said := strings.NewReader(string(out))
	for i := range t {
		for part := range t[i] {
			if _, err := fmt.Fscan(said, &t[i][part]); err != nil {
				return t, fmt.Errorf("%s says %q: %w", cmd, out, err)
			}
		}
	}
	return t, nil
}

// loadFunc loads what was opened, with a directory for pins. The caller closes what it returns.
type loadFunc func(pins string) (interface{ Close() }, error)

// opens are the ways of Go code. Each opens a file.
var opens = map[string]func(args []string) (loadFunc, error){
	"cilium":  openCilium,
	"trace":   openTrace,
	"load":    openLoad,
	"replay":  func(args []string) (loadFunc, error) { return openArtefact(args[0], "") },
	waySigned: func(args []string) (loadFunc, error) { return openArtefact(args[0], "user") },
}

// child loads twice in this process and prints the times. The first argument is the way.
func child(args []string) error {
	dir, err := os.MkdirTemp("/sys/fs/bpf", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i := range 2 {
		pins := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(pins, 0o700); err != nil {
			return err
		}
		start := time.Now()
		load, err := opens[args[0]](args[1:])
		if err != nil {
			return err
		}
		opened := time.Now()
		loaded, err := load(pins)
		if err != nil {
			return err
		}
		fmt.Printf("%d %d 0 0 0\n", opened.Sub(start), time.Since(opened))
		loaded.Close()
	}
	return nil
}

// openCilium leaves out the named programs of SEC("?…"), which cilium/ebpf would load.
func openCilium(args []string) (loadFunc, error) {
	spec, err := ebpf.LoadCollectionSpec(args[0])
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(args[1], ",") {
		delete(spec.Programs, name)
	}
	return func(pins string) (interface{ Close() }, error) {
		return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: pins}})
	}, nil
}

func openTrace(args []string) (loadFunc, error) {
	obj, err := object.Open(args[0])
	if err != nil {
		return nil, err
	}
	t, err := trace.Plan(obj, trace.Options{})
	return func(pins string) (interface{ Close() }, error) {
		return issue.Issue(t, target.New(), target.Options{PinPath: pins})
	}, err
}

func openLoad(args []string) (loadFunc, error) {
	obj, err := loader.Open(args[0])
	if err != nil {
		return nil, err
	}
	p, err := loader.Generate(obj, nil)
	return func(pins string) (interface{ Close() }, error) {
		return p.Load(&loader.LoadOptions{PinPath: pins})
	}, err
}

// openArtefact opens a file that generate or sign has written.
func openArtefact(path, keyring string) (loadFunc, error) {
	a, err := artefact.ReadFile(path)
	return func(pins string) (interface{ Close() }, error) {
		return replay.Load(a, replay.Options{Options: target.Options{PinPath: pins}, Keyring: keyring})
	}, err
}
