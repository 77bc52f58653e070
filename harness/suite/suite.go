package suite

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/probe"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Suite is a set of cases.
type Suite struct {
	Name  string `yaml:"suite"`
	Cases []Case `yaml:"cases"`
	// Source describes in words where the objects come from, if they are others'.
	Source string `yaml:"-"`
	// Absent says, by name, why there is no object for a case, such as that it does not compile.
	Absent map[string]string `yaml:"-"`

	// Partial: these are not all cases of the suite.
	Partial bool `yaml:"partial,omitempty"`
	// External: the objects are of other projects, and nothing is expected of their
	// loads but that engines agree.
	External bool `yaml:"external,omitempty"`

	dir string `yaml:"-"` // where the objects are
}

// Case is one object and what to do with it.
type Case struct {
	Name   string `yaml:"name"`
	Object string `yaml:"object"` // file, relative to bpf/ beside cases.yaml
	About  string `yaml:"about,omitempty"`
	// Needs are the capabilities without which no engine can load the object.
	Needs   []string `yaml:"needs,omitempty"`
	Modules []string `yaml:"modules,omitempty"` // of the kernel, loaded first
	Expect  Expect   `yaml:"expect,omitempty"`
	// Known says, by engine, why it refuses an object that others load, and
	// begins with the version that does so ("libbpf v1.1 has no ..."). If that
	// version loads it after all, the case fails; of another one it is noted.
	Known map[string]string `yaml:"known,omitempty"`
	Run   []RunInput        `yaml:"run,omitempty"`
	// Idle says, by name, why a program is neither run with inputs that are not
	// in Run nor attached, or a struct_ops map not registered.
	Idle map[string]string `yaml:"idle,omitempty"`
	// Splats says, by a part of the line, why the guest's kernel may complain while
	// the case runs, and which kernels do.
	Splats map[string]string `yaml:"splats,omitempty"`
	// Only names a program that is loaded alone, see [Suite.Split].
	Only string `yaml:"only,omitempty"`
	// Replace says, by name of an freplace program, which program it replaces a
	// function of: "OBJECT" or "OBJECT:PROGRAM", OBJECT being found as Object is.
	Replace map[string]string `yaml:"replace,omitempty"`
	// Attach: the loads attach programs, as those of gen --attach do.
	Attach bool `yaml:"attach,omitempty"`
	// Issue is set for cases beyond what can be loaded today.
	Issue int `yaml:"issue,omitempty"`

	Own bool `yaml:"-"` // an object that somebody named on the command line
}

// Expect is how the loads of a case are to end.
type Expect struct {
	Result  string `yaml:"result,omitempty"`  // "ok", the default, or "refused"
	Errno   string `yaml:"errno,omitempty"`   // of refusals that have one
	Message string `yaml:"message,omitempty"` // part of every refusal
}

// RunInput is a BPF_PROG_TEST_RUN of a program and what it returns.
type RunInput struct {
	Program string  `yaml:"program"`
	Data    string  `yaml:"data,omitempty"` // hexadecimal
	Size    int     `yaml:"size,omitempty"` // this many zero bytes, if there is no data
	Context string  `yaml:"ctx,omitempty"`  // hexadecimal
	Repeat  int     `yaml:"repeat,omitempty"`
	Retval  *uint32 `yaml:"retval,omitempty"` // of the last run
}

// Read reads a cases.yaml. The error names all cases that are wrong.
func Read(file string) (*Suite, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("suite: %w", err)
	}
	s := &Suite{dir: filepath.Join(filepath.Dir(file), "bpf")}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("suite %s: %w", file, err)
	}
	var wrong *multierror.Error
	seen := make(map[string]bool)
	for i := range s.Cases {
		c := &s.Cases[i]
		if seen[c.Name] {
			wrong = multierror.Append(wrong, fmt.Errorf("case %q is there twice", c.Name))
		}
		seen[c.Name] = true
		if err := c.Check(s.External); err != nil {
			wrong = multierror.Append(wrong, fmt.Errorf("case %q: %w", c.Name, err))
		}
	}
	if err := failures.All(wrong); err != nil {
		return nil, fmt.Errorf("suite %s: %w", file, err)
	}
	return s, nil
}

// New makes a suite of objects given by their paths: each is to load with
// every engine. A case has the name of its object's file, or the object's path if
// that could be another's.
func New(paths []string) *Suite {
	s := &Suite{Name: "objects", Partial: true}
	for i, name := range caseNames(paths) {
		abs, err := filepath.Abs(paths[i])
		if err != nil {
			abs = paths[i]
		}
		s.Cases = append(s.Cases, Case{Name: name, Object: abs, Expect: Expect{Result: wire.OK}, Own: true})
	}
	return s
}

// caseNames are names for objects, by path, no two of which are alike.
func caseNames(paths []string) []string {
	short := func(path string) string { return strings.TrimSuffix(strings.TrimSuffix(path, ".o"), ".bpf") }
	files := make(map[string]int)
	for _, p := range paths {
		files[short(filepath.Base(p))]++
	}
	taken := make(map[string]bool)
	var names []string
	for _, p := range paths {
		name := short(filepath.Base(p))
		if files[name] > 1 {
			name = short(filepath.Clean(p))
		}
		one := name
		for n := 2; taken[one]; n++ { // an object that is named twice
			one = fmt.Sprintf("%s-%d", name, n)
		}
		taken[one] = true
		names = append(names, one)
	}
	return names
}

// NewForeign makes a suite of objects of others, given by their paths. Nothing is
// expected of a load but that engines agree: those that refuse an object do it
// with the same errno and the same last line of the verifier.
func NewForeign(name string, paths []string) *Suite {
	s := New(paths)
	s.Name, s.Partial = name, false
	s.ExpectAgreement()
	return s
}

// ExpectAgreement expects nothing of loads but that engines agree.
func (s *Suite) ExpectAgreement() {
	s.External = true
	for i := range s.Cases {
		s.Cases[i].Expect = Expect{Result: AnyResult}
	}
}

// Others reports whether nobody has looked at the object for this suite, so that what engines
// are known to refuse in any object counts.
func (c *Case) Others() bool { return c.Own || c.Expect.Result == AnyResult }

// Split makes of each case one for each program of its object, "object:program",
// which is loaded alone. Programs of struct_ops maps go with their maps. Objects
// that our reader does not open, and those without a program, stay as they are.
func (s *Suite) Split() *Suite {
	out := *s
	out.Cases = nil
	for _, c := range s.Cases {
		n := len(out.Cases)
		if o, err := object.Open(s.Path(&c)); err == nil {
			for _, f := range o.Functions {
				if f.Subprog || object.IsStructOps(f.Section) {
					continue
				}
				one := c
				one.Name, one.Only = c.Name+":"+f.Name, f.Name
				out.Cases = append(out.Cases, one)
			}
		}
		if len(out.Cases) == n {
			out.Cases = append(out.Cases, c)
		}
	}
	return &out
}

// AnyResult is what is expected of loads if nothing is.
const AnyResult = "any"

// EngineNames are the engines that a suite may speak of.
var EngineNames = enginename.Names()

// versioned begins as a version of an engine, see engine.Version.
var versioned = regexp.MustCompile(`^(` + enginename.CiliumCode + `|` + enginename.LibbpfCode + `) v[0-9]\S* `)

func (c *Case) Check(external bool) error {
	switch result := c.Expect.Result; {
	case result == "" && external:
		c.Expect.Result = AnyResult
	case result == "":
		c.Expect.Result = wire.OK
	case result == wire.OK, result == wire.Refused, result == AnyResult && external:
	default:
		return fmt.Errorf("expect: result %q is neither ok nor refused", result)
	}
	if c.Name == "" || c.Object == "" {
		return errors.New("name and object are required")
	}
	for _, n := range c.Needs {
		if !probe.Known(n) {
			return fmt.Errorf("needs: no probe for %q", n)
		}
	}
	for e, reason := range c.Known {
		if !slices.Contains(EngineNames, e) {
			return fmt.Errorf("known: no engine %q: there are %s", e, strings.Join(EngineNames, ", "))
		}
		if ours := len(enginename.Skeletons([]string{e})) > 0; !ours && !versioned.MatchString(reason) {
			return fmt.Errorf("known: %s: %q does not begin with a version, such as %q or %q", e, reason, "cilium/ebpf v0.22.0", "libbpf v1.1")
		}
	}
	for name, reason := range c.Idle {
		if reason == "" {
			return fmt.Errorf("idle: %s: why?", name)
		}
	}
	for part, reason := range c.Splats {
		if part == "" || reason == "" {
			return fmt.Errorf("splats: %q: which, and why?", part)
		}
	}
	_, err := c.Runs()
	return err
}

// Replace has each case with one of these freplace programs replace what is named:
// see [Case.Replace]. A program that no case has is an error.
func (s *Suite) Replace(programs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		path, program := SplitReplaced(programs[name])
		abs, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("what program %s replaces: %w", name, err)
		}
		if program != "" {
			abs += ":" + program
		}
		found := false
		for i := range s.Cases {
			c := &s.Cases[i]
			o, err := object.Open(s.Path(c))
			if err != nil || !slices.ContainsFunc(o.Functions, func(f object.Function) bool { return f.Name == name && f.Program.Type == uapi.ProgExt }) {
				continue
			}
			if c.Replace == nil {
				c.Replace = make(map[string]string)
			}
			c.Replace[name], found = abs, true
		}
		if !found {
			return fmt.Errorf("no object has an freplace program %q", name)
		}
	}
	return nil
}

// SplitReplaced takes a value of [Case.Replace] apart.
func SplitReplaced(text string) (path, program string) {
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.ContainsRune(text[i:], '/') {
		return text[:i], text[i+1:]
	}
	return text, ""
}

// Replaced reads the objects with the programs that a case replaces.
func (s *Suite) Replaced(c *Case) ([]wire.Replaced, error) {
	var all []wire.Replaced
	for _, name := range slices.Sorted(maps.Keys(c.Replace)) {
		path, program := SplitReplaced(c.Replace[name])
		path = s.Path(&Case{Object: path})
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("what program %s replaces: %w", name, err)
		}
		all = append(all, wire.Replaced{By: name, File: filepath.Base(path), Object: data, Program: program})
	}
	return all, nil
}

// ReplaceBeside is a [Case.Replace] for a suite that has these objects beside its own.
func ReplaceBeside(list []wire.Replaced) map[string]string {
	var names map[string]string
	for i := range list {
		if names == nil {
			names = make(map[string]string)
		}
		r := &list[i]
		names[r.By] = strings.TrimSuffix(r.File+":"+r.Program, ":")
	}
	return names
}

// Allows reports why the guest's kernel may print such a complaint.
func (c *Case) Allows(line string) (reason string, ok bool) {
	for part, reason := range c.Splats {
		if strings.Contains(line, part) {
			return reason, true
		}
	}
	return "", false
}

func (c *Case) Runs() ([]wire.Run, error) {
	var runs []wire.Run
	for _, r := range c.Run {
		data, err := hex.DecodeString(r.Data)
		if err != nil {
			return nil, fmt.Errorf("run %s: data: %w", r.Program, err)
		}
		if len(data) == 0 {
			data = make([]byte, r.Size)
		}
		ctx, err := hex.DecodeString(r.Context)
		if err != nil {
			return nil, fmt.Errorf("run %s: ctx: %w", r.Program, err)
		}
		runs = append(runs, wire.Run{Program: r.Program, Data: data, Context: ctx, Repeat: r.Repeat})
	}
	return runs, nil
}

// with is the part of a suite that has these cases.
func (s *Suite) with(cases []Case) *Suite {
	out := *s
	out.Cases, out.Partial = cases, true
	return &out
}

// Only returns the part of a suite that has cases of these names.
func (s *Suite) Only(names []string) *Suite {
	var cases []Case
	for _, c := range s.Cases {
		if slices.Contains(names, c.Name) {
			cases = append(cases, c)
		}
	}
	return s.with(cases)
}

// Path is where the case's object is.
func (s *Suite) Path(c *Case) string {
	if filepath.IsAbs(c.Object) {
		return c.Object
	}
	return filepath.Join(s.dir, c.Object)
}

// Select returns the suite with those cases only whose names match one of the
// patterns (path.Match), all if there is none. A pattern behind "!" takes cases away
// again; if it is the first, from all. A pattern without a match is an error.
func (s *Suite) Select(patterns []string) (*Suite, error) {
	if len(patterns) == 0 {
		return s, nil
	}
	used := make([]bool, len(patterns))
	chosen := make([]bool, len(s.Cases))
	for i := range chosen {
		chosen[i] = strings.HasPrefix(patterns[0], "!")
	}
	for n, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		for i, c := range s.Cases {
			ok, err := filepath.Match(p, c.Name)
			if err != nil {
				return nil, fmt.Errorf("case pattern %q: %w", p, err)
			}
			if ok {
				used[n], chosen[i] = true, !not
			}
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, fmt.Errorf("no case matches %q", strings.TrimPrefix(patterns[i], "!"))
	}
	out := s.with(nil)
	for i, c := range s.Cases {
		if chosen[i] {
			out.Cases = append(out.Cases, c)
		}
	}
	return out, nil
}

// Modules are all modules that the cases name, sorted.
func (s *Suite) Modules() []string {
	var all []string
	for _, c := range s.Cases {
		all = append(all, c.Modules...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Order are the indices of the cases, those that need modules after those that do
// not: a module that is loaded stays, and its absence is a case, too. That holds
// for each worker that takes its cases in this order. Otherwise those come first
// that took longest, in seconds; they may be nil.
func (s *Suite) Order(took map[string]float64) []int {
	order := make([]int, len(s.Cases))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &s.Cases[a], &s.Cases[b]
		switch modules := len(x.Modules) > 0; {
		case modules == (len(y.Modules) > 0):
			return cmp.Compare(took[y.Name], took[x.Name])
		case modules:
			return 1
		}
		return -1
	})
	return order
}

// Request is what a guest is asked for to run a case with this object; which engines load it, and
// how, is for the caller to add.
func (s *Suite) Request(c *Case, data []byte) (*wire.Request, error) {
	runs, err := c.Runs()
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	replace, err := s.Replaced(c)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return &wire.Request{
		Name: c.Name, File: filepath.Base(c.Object), Object: data, Needs: c.Needs, Modules: len(c.Modules) > 0, Runs: runs,
		Replace: replace, Idle: slices.Sorted(maps.Keys(c.Idle)), Attach: c.Attach, Only: c.Only, Autoload: s.External,
	}, nil
}

// Read reads the object of a case.
func (s *Suite) Read(c *Case) ([]byte, error) {
	data, err := os.ReadFile(s.Path(c))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return data, nil
}
