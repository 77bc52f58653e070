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

// Object is a BPF object in memory. It holds no fd and needs no Close.
type Object struct{ o *object.Object }

// Open reads a BPF object from a file. It needs no kernel, and the same file gives the same object
// on every machine.
func Open(path string) (*Object, error) { return OpenOptions{}.Open(path) }

// OpenFS reads a BPF object from a file system, such as an embed.FS.
func OpenFS(fsys fs.FS, name string) (*Object, error) { return OpenOptions{}.OpenFS(fsys, name) }

// Read reads a BPF object from r until EOF. name is a file name; the object's own name derives from
// it (see [Object.Name]).
func Read(r io.Reader, name string) (*Object, error) { return OpenOptions{}.Read(r, name) }

// OpenOptions change how an object is read. The zero value is what [Open], [OpenFS] and [Read] use.
type OpenOptions struct {
	// MaxFileBytes is the largest accepted file size in bytes. 0 means 256 MiB.
	MaxFileBytes int64
	SectionRules SectionRules
}

// SectionRules decide what a section name means for the programs in that section.
type SectionRules int

const (
	// LibbpfRules are the rules of libbpf since 1.0, and the default: a program whose section name
	// is not in libbpf's table is not loaded.
	LibbpfRules = SectionRules(object.LibbpfRules)
	// CiliumRules are the rules of cilium/ebpf, and of libbpf before 1.0: "socket1" means "socket",
	// and "tc_ingress" means "tc".
	CiliumRules = SectionRules(object.CiliumRules)
)

func (o OpenOptions) options() object.Options {
	return object.Options{MaxFileBytes: o.MaxFileBytes, SectionRules: object.SectionRules(o.SectionRules)}
}

// Open is [Open] with these options.
func (o OpenOptions) Open(path string) (*Object, error) { return opened(o.options().Open(path)) }

// OpenFS is [OpenFS] with these options.
func (o OpenOptions) OpenFS(fsys fs.FS, name string) (*Object, error) {
	return opened(o.options().OpenFS(fsys, name))
}

// Read is [Read] with these options.
func (o OpenOptions) Read(r io.Reader, name string) (*Object, error) {
	return opened(o.options().Read(r, name))
}

func opened(o *object.Object, err error) (*Object, error) {
	if err != nil {
		return nil, err
	}
	return &Object{o}, nil
}

// Name returns the object's name as libbpf derives it: the file's base name up to the first dot.
func (o *Object) Name() string { return o.o.Name }

// Warnings returns the defects of the object that do not prevent a load, one line each, with their
// consequences.
func (o *Object) Warnings() []string {
	var lines []string
	for _, w := range o.o.Warnings {
		lines = append(lines, w.String())
	}
	return lines
}

// GenerateOptions select the parts of an object that are loaded. The zero value follows the object.
type GenerateOptions struct {
	// Autoload overrides, by program name, whether a program is loaded. By default all programs
	// are, except those in SEC("?…").
	Autoload map[string]bool
	// Autocreate overrides, by map name, whether a struct_ops map is created. By default all are,
	// except those in SEC("?.struct_ops…"). Programs that only a map that is not created refers to
	// are not loaded, unless Autoload says so.
	Autocreate map[string]bool
	// Attach makes the load attach the programs whose section names a target and is tp_btf, fentry,
	// fexit, fmod_ret, lsm or iter. A signature then covers the attachments, too.
	Attach bool
}

// Program is a loader program. A load does not change it: it may be loaded any number of times,
// from any number of goroutines.
type Program struct{ a *artefact.Artefact }

// Generate makes a loader program from an object. It needs no kernel, and the same object and
// options give the same bytes on every machine. Nil options mean the zero value.
func Generate(obj *Object, opts *GenerateOptions) (*Program, error) {
	if opts == nil {
		opts = &GenerateOptions{}
	}
	a, err := emit.Generate(obj.o, trace.Options{Autoload: opts.Autoload, Autocreate: opts.Autocreate, Attach: opts.Attach})
	if err != nil {
		return nil, err
	}
	return &Program{a}, nil
}

// ErrFormat is wrapped by errors of [ReadFile], [ReadFS] and [Parse] if the file is not an
// artefact, or is damaged.
var ErrFormat = artefact.ErrFormat

// ReadFile reads a loader program from a file that [Program.WriteFile] wrote.
func ReadFile(path string) (*Program, error) { return newProgram(artefact.ReadFile(path)) }

// ReadFS reads a loader program from a file system, such as an embed.FS.
func ReadFS(fsys fs.FS, name string) (*Program, error) {
	return newProgram(artefact.ReadFS(fsys, name))
}

// Parse reads a loader program from the bytes of an artefact file. The program refers to these
// bytes: the caller must not change them.
func Parse(file []byte) (*Program, error) { return newProgram(artefact.Parse(file)) }

func newProgram(a *artefact.Artefact, err error) (*Program, error) {
	if err != nil {
		return nil, err
	}
	return &Program{a}, nil
}

// WriteFile writes the loader program to a file. The file is replaced atomically. docs/artefact.md
// describes its format.
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

// MarshalBinary returns the bytes that [Program.WriteFile] writes.
func (p *Program) MarshalBinary() ([]byte, error) { return p.a.MarshalBinary() }

// Object returns the object's name.
func (p *Program) Object() string { return p.a.Object }

// Insns returns the number of instructions of the loader program, 8 bytes each.
func (p *Program) Insns() int { return len(p.a.Insns) / 8 }

// Blob returns the size in bytes of the loader program's blob.
func (p *Program) Blob() int { return len(p.a.Blob) }

// Maps returns the names of the maps that a load creates: the variable's name, or the section's for
// data maps (".rodata").
func (p *Program) Maps() []string {
	names := make([]string, len(p.a.Maps))
	for i := range p.a.Maps {
		names[i] = p.a.Maps[i].Name
	}
	return names
}

// Programs returns the names of the programs that a load creates.
func (p *Program) Programs() []string {
	names := make([]string, len(p.a.Programs))
	for i := range p.a.Programs {
		names[i] = p.a.Programs[i].Name
	}
	return names
}

// Need is a capability that a load needs from the kernel: its name in kernels.yaml, and the part of
// the object that needs it.
type Need = artefact.Need

// Needs returns what the loader program needs from a kernel beyond being able to run it (5.14). The
// caller must not change the slice.
func (p *Program) Needs() []Need { return p.a.Needs }

// Settings describes the values that depend on the machine and that Load passes to the loader
// program, one line each.
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

// StepError reports which step of a load failed, and why. It wraps the errno.
type StepError = artefact.StepError

// NeedError reports that this kernel lacks a capability that a load needs. Nothing was created.
type NeedError = artefact.NeedError
