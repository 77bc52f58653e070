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
	// Source describes where the objects of an external suite come from.
	Source string `yaml:"-"`
	// Absent has, by name of a case, the reason why there is no object, such as a compiler error.
	Absent map[string]string `yaml:"-"`

	// Partial: the suite lacks some of its cases.
	Partial bool `yaml:"partial,omitempty"`
	// External: the objects are other projects', and the only expectation is that engines agree.
	External bool `yaml:"external,omitempty"`

	dir string `yaml:"-"` // directory of the objects
}

// Case is one object and what to do with it.
type Case struct {
	Name   string `yaml:"name"`
	Object string `yaml:"object"` // file, relative to bpf/ beside cases.yaml
	About  string `yaml:"about,omitempty"`
	// Needs are the capabilities that every engine needs to load the object.
	Needs   []string `yaml:"needs,omitempty"`
	Modules []string `yaml:"modules,omitempty"` // of the kernel, loaded first
	Expect  Expect   `yaml:"expect,omitempty"`
	// Known has, by engine, the reason why it refuses an object that others load. The text begins
	// with the version that does so ("libbpf v1.1 has no ..."). If that version loads the object,
	// the case fails; if another version does, there is a note.
	Known map[string]string `yaml:"known,omitempty"`
	Run   []RunInput        `yaml:"run,omitempty"`
	// Skip has, by name, the reason why a program is not attached and only run with the inputs in
	// Run, or why a struct_ops map is not registered.
	Skip map[string]string `yaml:"skip,omitempty"`
	// Splats has, by a part of the line, the reason why the guest's kernel may print a complaint
	// during the case, and which kernels do.
	Splats map[string]string `yaml:"splats,omitempty"`
	// Only names the one program to load, see [Suite.Split].
	Only string `yaml:"only,omitempty"`
	// Replace has, by name of an freplace program, its target: "OBJECT" or "OBJECT:PROGRAM". OBJECT
	// is a path like Object.
	Replace map[string]string `yaml:"replace,omitempty"`
	// Attach: the loads also attach programs, like those of gen --attach.
	Attach bool `yaml:"attach,omitempty"`
	// Memory is how much memory the guest must have, in MiB. If that is more than other guests have,
	// the case gets a guest of its own.
	Memory int `yaml:"memory,omitempty"`
	// Issue is set for cases that cannot be loaded yet.
	Issue int `yaml:"issue,omitempty"`

	Own bool `yaml:"-"` // the user named the object on the command line
}

// Expect is the expected result of a case's loads.
type Expect struct {
	Result  string `yaml:"result,omitempty"`  // "ok", the default, or "refused"
	Errno   string `yaml:"errno,omitempty"`   // of refusals with an errno
	Message string `yaml:"message,omitempty"` // text that every refusal contains
}

// RunInput is a BPF_PROG_TEST_RUN of a program, and the expected return value.
type RunInput struct {
	Program string  `yaml:"program"`
	Data    string  `yaml:"data,omitempty"` // hexadecimal
	Size    int     `yaml:"size,omitempty"` // this many zero bytes, if there is no data
	Context string  `yaml:"ctx,omitempty"`  // hexadecimal
	Repeat  int     `yaml:"repeat,omitempty"`
	Retval  *uint32 `yaml:"retval,omitempty"` // of the last run
}

// Read reads a cases.yaml. The error lists all invalid cases.
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

// New makes a suite of the objects at these paths. Each must load with every engine. A case is
// named after its object's file, or by its path if several have the same file name.
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

// caseNames returns a unique name for each object.
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
		for n := 2; taken[one]; n++ { // an object that was given twice
			one = fmt.Sprintf("%s-%d", name, n)
		}
		taken[one] = true
		names = append(names, one)
	}
	return names
}

// NewForeign makes a suite of external objects. The only expectation is that engines agree: those
// that refuse an object must have the same errno and the same last line of the verifier's log.
func NewForeign(name string, paths []string) *Suite {
	s := New(paths)
	s.Name, s.Partial = name, false
	s.ExpectAgreement()
	return s
}

// ExpectAgreement sets the expectation of each case to agreement between engines.
func (s *Suite) ExpectAgreement() {
	s.External = true
	for i := range s.Cases {
		s.Cases[i].Expect = Expect{Result: AnyResult}
	}
}

// Others reports whether the object is not part of a reviewed suite, so that refusals which an
// engine is known for are accepted.
func (c *Case) Others() bool { return c.Own || c.Expect.Result == AnyResult }

// Split replaces each case by one case for each program of its object, "object:program", which
// loads only that program. Programs of struct_ops maps stay with their maps. Cases remain unchanged
// if our reader cannot open the object, or if it has no program.
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

// AnyResult is the expectation that allows any result.
const AnyResult = "any"

// EngineNames are the engines that a suite may name.
var EngineNames = enginename.Names()

// versioned matches a text that begins with the version of an engine, see engine.Version.
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
	if c.Memory < 0 {
		return fmt.Errorf("memory: %d MiB: a guest needs some", c.Memory)
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
	for name, reason := range c.Skip {
		if reason == "" {
			return fmt.Errorf("skip: %s: why?", name)
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

// Replace sets the targets of these freplace programs in all cases that have them: see
// [Case.Replace]. A program that no case has is an error.
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

// SplitReplaced splits a value of [Case.Replace].
func SplitReplaced(text string) (path, program string) {
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.ContainsRune(text[i:], '/') {
		return text[:i], text[i+1:]
	}
	return text, ""
}

// Replaced reads the objects with the target programs of a case.
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

// ReplaceBeside returns the [Case.Replace] for a suite that has these objects beside its own.
func ReplaceBeside(list []wire.Replaced) map[string]string {
	names := make(map[string]string)
	for i := range list {
		r := &list[i]
		names[r.By] = strings.TrimSuffix(r.File+":"+r.Program, ":")
	}
	return names
}

// Allows reports whether the guest's kernel may print this complaint, and the reason.
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

// with returns the suite with only these cases.
func (s *Suite) with(cases []Case) *Suite {
	out := *s
	out.Cases, out.Partial = cases, true
	return &out
}

// Only returns the suite with only the cases of these names.
func (s *Suite) Only(names []string) *Suite {
	return s.with(slices.DeleteFunc(slices.Clone(s.Cases), func(c Case) bool { return !slices.Contains(names, c.Name) }))
}

// Path returns the path of the case's object.
func (s *Suite) Path(c *Case) string {
	if filepath.IsAbs(c.Object) {
		return c.Object
	}
	return filepath.Join(s.dir, c.Object)
}

// Select returns the suite with the cases whose names match one of the patterns (path.Match), or
// all cases if there are none. A pattern with a leading "!" removes cases; if it is the first
// pattern, from all. A pattern without a match is an error.
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

// Modules returns all modules that the cases name, sorted.
func (s *Suite) Modules() []string {
	var all []string
	for _, c := range s.Cases {
		all = append(all, c.Modules...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Order returns the indices of the cases. Cases that need modules come last: a loaded module stays,
// and some cases test its absence. That holds for each worker that takes its cases in this order.
// Otherwise the cases that took longest come first; took has the seconds and may be nil.
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

// Request returns the request that makes a guest run a case with this object. The caller adds the
// engines and the options of the loads.
func (s *Suite) Request(c *Case, data []byte) (*wire.CaseRequest, error) {
	runs, err := c.Runs()
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	replace, err := s.Replaced(c)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return &wire.CaseRequest{
		Name: c.Name, File: filepath.Base(c.Object), Object: data, Needs: c.Needs, Modules: len(c.Modules) > 0, Runs: runs,
		Replace: replace, Skip: slices.Sorted(maps.Keys(c.Skip)), Attach: c.Attach, Only: c.Only, Autoload: s.External,
		MemoryMiB: c.Memory,
	}, nil
}

// Read returns the object of a case.
func (s *Suite) Read(c *Case) ([]byte, error) {
	data, err := os.ReadFile(s.Path(c))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return data, nil
}
