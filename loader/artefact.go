package loader

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/emit"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Artefact is a loader program in files, for those who run it without the
// object: instructions, blob, and a manifest that says what is in them.
type Artefact struct {
	Manifest
	Insns []byte
	Blob  []byte
}

// Manifest describes a loader program: manifest.json.
type Manifest struct {
	Schema   int               `json:"schema"` // 1
	Object   string            `json:"object"`
	License  string            `json:"license"` // of the object's programs
	Insns    int               `json:"insns"`   // instructions in insns.bin, 8 bytes each
	Blob     int               `json:"blob"`    // bytes in blob.bin
	Context  int               `json:"context"` // bytes of the context (libbpf's struct bpf_loader_ctx and what follows)
	Maps     []ManifestMap     `json:"maps"`
	Programs []ManifestProgram `json:"programs"`
	// Steps name the steps: the loader leaves the index of one that failed in
	// the first four bytes of its blob.
	Steps []string `json:"steps"`
	// Settings are what user space has to decide before a run.
	Settings []ManifestSetting `json:"settings,omitempty"`
	// Needs are what a run of these files alone cannot do; Program.Load can.
	Needs []string `json:"needs,omitempty"`
}

// ManifestMap is a map, and where its descriptor is in the context.
type ManifestMap struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Descriptor int    `json:"descriptor"` // offset in the context: fd u32, max_entries u32, initial_value u64
	ValueSize  uint32 `json:"value_size"`
	Mmapable   bool   `json:"mmapable,omitempty"`
	ReadOnly   bool   `json:"read_only,omitempty"` // frozen after the load
}

// ManifestProgram is a program, and where its descriptor is in the context.
type ManifestProgram struct {
	Name       string `json:"name"`
	Section    string `json:"section"`
	Type       string `json:"type"`
	AttachType string `json:"attach_type"`
	Descriptor int    `json:"descriptor"` // offset in the context: fd u32
}

// ManifestSetting is a value of a map's descriptor that depends on the machine.
type ManifestSetting struct {
	Map int `json:"map"` // index of the map
	// Kind is "cpus" (max_entries is the number of possible CPUs), "pages"
	// (max_entries is Size rounded up to a power of two of whole pages) or
	// "kconfig" (initial_value holds the Variables of the kernel's configuration).
	Kind      string          `json:"kind"`
	Size      uint32          `json:"size,omitempty"` // bytes
	Variables []object.Extern `json:"variables,omitempty"`
}

var settingKinds = map[trace.SettingKind]string{
	trace.SettingCPUs: "cpus", trace.SettingPages: "pages", trace.SettingKconfig: "kconfig",
}

// Names of an artefact's files.
const (
	manifestFile = "manifest.json"
	insnsFile    = "insns.bin"
	blobFile     = "blob.bin"
)

// Artefact returns the program as an artefact. It has to have been generated
// with Options.Inputs.
func (p *Program) Artefact() *Artefact {
	t := p.Trace
	a := &Artefact{Insns: p.Insns, Blob: p.Blob, Manifest: Manifest{
		Schema: 1, Object: t.Object, License: t.License, Insns: len(p.Insns) / 8, Blob: len(p.Blob),
		Context: emit.CtxSize(len(t.Maps), len(t.Programs)), Maps: []ManifestMap{}, Programs: []ManifestProgram{},
	}}
	for i, m := range t.Maps {
		a.Maps = append(a.Maps, ManifestMap{
			Name: m.Name, Type: trace.MapTypeName(m.Type), Descriptor: emit.CtxMap(i),
			ValueSize: m.ValueSize, Mmapable: m.Mmapable, ReadOnly: m.ReadOnly,
		})
	}
	for i, prog := range t.Programs {
		a.Programs = append(a.Programs, ManifestProgram{
			Name: prog.Name, Section: prog.Section, Type: trace.ProgTypeName(prog.Type),
			AttachType: trace.AttachTypeName(prog.AttachType), Descriptor: emit.CtxProg(len(t.Maps), i),
		})
	}
	for _, c := range t.Commands {
		a.Steps = append(a.Steps, t.StepName(c))
	}
	for _, s := range t.Settings {
		if s.Map >= 0 { // else it is among Needs
			a.Settings = append(a.Settings, ManifestSetting{Map: s.Map, Kind: settingKinds[s.Kind], Size: s.Size, Variables: s.Externs})
		}
	}
	a.Needs = t.Needs()
	return a
}

// Write writes the artefact into a directory, which is made if it is not
// there. Files are replaced whole or not at all.
func (a *Artefact) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("artefact: %w", err)
	}
	manifest, err := json.MarshalIndent(a.Manifest, "", " ")
	if err != nil {
		return fmt.Errorf("artefact: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{insnsFile, a.Insns}, {blobFile, a.Blob}, {manifestFile, append(manifest, '\n')}} {
		if err := replaceFile(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("artefact: %w", err)
		}
	}
	return nil
}

// replaceFile writes a file beside its place and moves it there.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// OpenArtefact reads an artefact from its directory and checks that its parts
// belong together.
func OpenArtefact(dir string) (*Artefact, error) {
	a := &Artefact{}
	manifest, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, fmt.Errorf("artefact: %w", err)
	}
	if err := json.Unmarshal(manifest, &a.Manifest); err != nil {
		return nil, fmt.Errorf("artefact %s: %s: %w", dir, manifestFile, err)
	}
	if a.Insns, err = os.ReadFile(filepath.Join(dir, insnsFile)); err != nil {
		return nil, fmt.Errorf("artefact: %w", err)
	}
	if a.Blob, err = os.ReadFile(filepath.Join(dir, blobFile)); err != nil {
		return nil, fmt.Errorf("artefact: %w", err)
	}
	switch {
	case a.Schema != 1:
		return nil, fmt.Errorf("artefact %s: schema %d, only 1 is known", dir, a.Schema)
	case len(a.Insns) != 8*a.Manifest.Insns || len(a.Insns) == 0:
		return nil, fmt.Errorf("artefact %s: %s has %d bytes, not %d", dir, insnsFile, len(a.Insns), 8*a.Manifest.Insns)
	case len(a.Blob) != a.Manifest.Blob || len(a.Blob) < 8:
		return nil, fmt.Errorf("artefact %s: %s has %d bytes, not %d", dir, blobFile, len(a.Blob), a.Manifest.Blob)
	case a.Context != emit.CtxSize(len(a.Maps), len(a.Programs)):
		return nil, fmt.Errorf("artefact %s: a context of %d bytes does not fit %d maps and %d programs", dir, a.Context, len(a.Maps), len(a.Programs))
	}
	return a, nil
}

// Load runs the artefact on this kernel, with sizes that the machine decides.
// The error is a *trace.StepError if a step failed, with the verifier's log.
// An artefact that needs more than a context can give is refused.
func (a *Artefact) Load() (*FDs, error) {
	if len(a.Needs) > 0 {
		return nil, fmt.Errorf("artefact of %s needs %s: load the object instead", a.Object, a.Needs[0])
	}
	in, err := a.inputs()
	if err != nil {
		return nil, err
	}
	raw := Raw{Insns: a.Insns, Blob: a.Blob, Maps: len(a.Maps), Programs: len(a.Programs)}
	fds, err := raw.Run(in)
	var failed *RunError
	if !errors.As(err, &failed) || failed.Blob == nil {
		return fds, err
	}
	first, errno := binary.LittleEndian.Uint32(failed.Blob), failed.Err
	in.LogLevel = bpfsys.LogLevel(errno)
	again, err := raw.Run(in)
	if !errors.As(err, &failed) || failed.Blob == nil {
		return again, err // a failure that went away
	}
	step := binary.LittleEndian.Uint32(failed.Blob)
	if int(first) >= len(a.Steps) {
		return nil, failed
	}
	why := &trace.StepError{Step: int(first), Subject: a.Object, What: a.Steps[first], Err: errno}
	if step == first {
		why.Log = failed.Log
	} // else the log of a program before it did not fit, and that has failed now (ENOSPC)
	return nil, why
}

// inputs decides on the settings.
func (a *Artefact) inputs() (Inputs, error) {
	in := Inputs{MaxEntries: make([]uint32, len(a.Maps)), Values: make([][]byte, len(a.Maps))}
	for _, s := range a.Settings {
		if s.Map < 0 || s.Map >= len(a.Maps) {
			return in, fmt.Errorf("artefact of %s: setting of map %d: %w", a.Object, s.Map, unix.EINVAL)
		}
		var err error
		switch s.Kind {
		case "cpus":
			in.MaxEntries[s.Map], err = target.CPUs()
		case "pages":
			in.MaxEntries[s.Map] = target.RingSize(s.Size)
		case "kconfig":
			in.Values[s.Map], err = target.New().Kconfig(s.Variables, a.Maps[s.Map].ValueSize)
		default:
			err = fmt.Errorf("setting %q: %w", s.Kind, unix.EINVAL)
		}
		if err != nil {
			return in, fmt.Errorf("map %s: %w", a.Maps[s.Map].Name, err)
		}
	}
	return in, nil
}
