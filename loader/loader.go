package loader

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/google/renameio/v2"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Object is a BPF object in memory.
type Object struct{ o *object.Object }

// Open reads a BPF object from a file. It needs no kernel, and the same file
// gives the same object on every machine.
func Open(path string) (*Object, error) { return OpenOptions{}.Open(path) }

// OpenFS reads a BPF object from a file system, such as one of go:embed.
func OpenFS(fsys fs.FS, name string) (*Object, error) { return OpenOptions{}.OpenFS(fsys, name) }

// Read reads a BPF object from r to its end. name is its file name, from which it has its own.
func Read(r io.Reader, name string) (*Object, error) { return OpenOptions{}.Read(r, name) }

// OpenOptions choose how an object is read. The zero value is what Open and its siblings use.
type OpenOptions struct {
	// MaxFileBytes bounds the size of the file in bytes. 0 is 256 MiB.
	MaxFileBytes int64
	SectionRules SectionRules
}

// SectionRules decide what the name of a section means for the programs in it.
type SectionRules int

const (
	// LibbpfRules are the rules of libbpf since 1.0: a program is not loaded if libbpf's
	// table does not have its section's name.
	LibbpfRules = SectionRules(object.LibbpfRules)
	// CiliumRules are the rules of cilium/ebpf, and of libbpf before 1.0: "socket1" means
	// "socket", and "tc_ingress" means "tc".
	CiliumRules = SectionRules(object.CiliumRules)
)

func (o OpenOptions) options() object.Options {
	return object.Options{MaxFileBytes: o.MaxFileBytes, SectionRules: object.SectionRules(o.SectionRules)}
}

// Open is [Open] with options.
func (o OpenOptions) Open(path string) (*Object, error) { return opened(o.options().Open(path)) }

// OpenFS is [OpenFS] with options.
func (o OpenOptions) OpenFS(fsys fs.FS, name string) (*Object, error) {
	return opened(o.options().OpenFS(fsys, name))
}

// Read is [Read] with options.
func (o OpenOptions) Read(r io.Reader, name string) (*Object, error) {
	return opened(o.options().Read(r, name))
}

func opened(o *object.Object, err error) (*Object, error) {
	if err != nil {
		return nil, err
	}
	return &Object{o}, nil
}

// Name is the object's name as libbpf derives it: the file's base name up to the first dot.
func (o *Object) Name() string { return o.o.Name }

// Warnings are defects of the object that do not keep it from being loaded, one line each,
// with their consequence.
func (o *Object) Warnings() []string {
	var lines []string
	for _, w := range o.o.Warnings {
		lines = append(lines, w.String())
	}
	return lines
}

// GenerateOptions choose the parts of an object that are loaded. The zero value follows the object.
type GenerateOptions struct {
	// Autoload is whether a program is loaded, by name. Without an entry a program of
	// SEC("?…") is not.
	Autoload map[string]bool
	// Autocreate is whether a struct_ops map is created, by name. Without an entry a map of
	// SEC("?.struct_ops…") is not. The programs of a map that is not created are not
	// loaded, unless Autoload has them.
	Autocreate map[string]bool
	// Attach has the load attach programs of the sections tp_btf, fentry, fexit, fmod_ret,
	// lsm and iter that name a target. A signature then covers the attachments, too.
	Attach bool
}

// Program is a loader program. It is not changed by a load, and may be loaded any number
// of times, from any number of goroutines.
type Program struct{ a *artefact.Artefact }

// Generate makes a loader program of an object. It needs no kernel, and the same object
// and options give the same bytes on every machine. Nil options are the zero value.
func Generate(obj *Object, opts *GenerateOptions) (*Program, error) {
	if opts == nil {
		opts = &GenerateOptions{}
	}
	t, err := trace.Plan(obj.o, trace.Options{Autoload: opts.Autoload, Autocreate: opts.Autocreate, Attach: opts.Attach})
	if err != nil {
		return nil, err
	}
	a, err := emit.Emit(t)
	if err != nil {
		return nil, err
	}
	return &Program{a}, nil
}

// ErrFormat is what errors of ReadFile, ReadFS and Parse wrap if the file is no artefact.
var ErrFormat = artefact.ErrFormat

// ReadFile reads a loader program from a file that WriteFile has written.
func ReadFile(path string) (*Program, error) { return newProgram(artefact.ReadFile(path)) }

// ReadFS reads a loader program from a file system, such as one of go:embed.
func ReadFS(fsys fs.FS, name string) (*Program, error) {
	return newProgram(artefact.ReadFS(fsys, name))
}

// Parse reads a loader program from the bytes of such a file, to which it goes on to refer:
// they must not be changed.
func Parse(file []byte) (*Program, error) { return newProgram(artefact.Parse(file)) }

func newProgram(a *artefact.Artefact, err error) (*Program, error) {
	if err != nil {
		return nil, err
	}
	return &Program{a}, nil
}

// WriteFile writes the loader program to a file, whole or not at all. docs/artefact.md
// describes the file.
func (p *Program) WriteFile(path string) error {
	data, err := p.a.MarshalBinary()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("artefact of %s: %w", p.a.Object, err)
	}
	return nil
}

// MarshalBinary returns what WriteFile writes.
func (p *Program) MarshalBinary() ([]byte, error) { return p.a.MarshalBinary() }

// Object is the name of the object.
func (p *Program) Object() string { return p.a.Object }

// Insns is the number of instructions of the loader program, of 8 bytes each, and Blob the
// size of its blob in bytes.
func (p *Program) Insns() int { return len(p.a.Insns) / 8 }

// Blob is the size of the loader program's blob in bytes.
func (p *Program) Blob() int { return len(p.a.Blob) }

// Maps are the names of the maps that a load leaves behind: of variables, and of sections
// for data maps (".rodata").
func (p *Program) Maps() []string {
	names := make([]string, len(p.a.Maps))
	for i := range p.a.Maps {
		names[i] = p.a.Maps[i].Name
	}
	return names
}

// Programs are the names of the programs that a load leaves behind.
func (p *Program) Programs() []string {
	names := make([]string, len(p.a.Programs))
	for i := range p.a.Programs {
		names[i] = p.a.Programs[i].Name
	}
	return names
}

// Need is something that a kernel must have: a capability, by its name in kernels.yaml, and
// what needs it.
type Need = artefact.Need

// Needs are what the loader program needs of a kernel beyond being able to run it (5.14).
func (p *Program) Needs() []Need { return p.a.Needs }

// Settings describe the values that depend on the machine and that the runtime passes in.
func (p *Program) Settings() []string {
	var out []string
	for i := range p.a.Settings {
		out = append(out, p.a.Settings[i].String())
	}
	for i := range p.a.Maps {
		switch m := &p.a.Maps[i]; {
		case m.Arena:
			out = append(out, "arena "+m.Name+": its memory is mapped before the load")
		case m.Pinned:
			out = append(out, "map "+m.Name+": pinned by name after the load, or used if it is pinned")
		}
	}
	for i := range p.a.Programs {
		if r := p.a.Programs[i].Replaces; r != "" {
			out = append(out, "program "+p.a.Programs[i].Name+": the program whose function "+r+" it replaces")
		}
	}
	return out
}

// StepError is a step of a load that failed.
type StepError = artefact.StepError

// NeedError means that this kernel lacks something that a load needs.
type NeedError = artefact.NeedError
