package artefact

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
)

// The manifest as JSON, documented in docs/artefact.md. Renaming a field here changes the format
// and needs a new version of the file.
type (
	manifest struct {
		Object   string            `json:"object"`
		License  string            `json:"license"`
		Context  int               `json:"context_size"`
		Maps     []manifestMap     `json:"maps"`
		Programs []manifestProgram `json:"programs"`
		Steps    []manifestStep    `json:"steps"`
		Settings []manifestSetting `json:"settings,omitempty"`
		Needs    []manifestNeed    `json:"needs,omitempty"`
		Types    *manifestRange    `json:"types,omitempty"`
	}
	manifestRange struct {
		Off  int `json:"offset"`
		Size int `json:"size"`
	}
	manifestMap struct {
		Name       string             `json:"name"`
		Kind       string             `json:"kind"`
		Type       string             `json:"type"`
		KeySize    uint32             `json:"key_size"`
		ValueSize  uint32             `json:"value_size"`
		MaxEntries uint32             `json:"max_entries"`
		Flags      uint32             `json:"map_flags,omitempty"`
		Extra      uint64             `json:"map_extra,omitempty"`
		Mmapable   bool               `json:"mmapable,omitempty"`
		ReadOnly   bool               `json:"read_only,omitempty"`
		Pinned     bool               `json:"pinned,omitempty"`
		FD         int                `json:"fd"`
		Attr       manifestRange      `json:"attr"`
		Delta      int                `json:"delta"`
		Value      *manifestRange     `json:"value,omitempty"`
		Update     int                `json:"update,omitempty"`
		Arena      *manifestArena     `json:"arena,omitempty"`
		Variables  []manifestVariable `json:"variables,omitempty"`
	}
	manifestArena struct {
		Data    manifestRange `json:"data"`
		Globals []int         `json:"globals"`
	}
	manifestVariable struct {
		Name string `json:"name"`
		Off  uint32 `json:"offset"`
		Size uint32 `json:"size"`
	}
	manifestProgram struct {
		Name       string        `json:"name"`
		Section    string        `json:"section"`
		Type       string        `json:"type"`
		AttachType string        `json:"attach_type"`
		FD         int           `json:"fd"`
		Link       int           `json:"link,omitempty"`
		Log        int           `json:"log"`
		Attr       manifestRange `json:"attr"`
		Module     string        `json:"module,omitempty"`
		Replaces   string        `json:"replaces,omitempty"`
	}
	manifestStep struct {
		Subject string `json:"subject"`
		Op      string `json:"op"`
		Result  int    `json:"result"`
		Initial string `json:"initial_value_of,omitempty"`
	}
	manifestSetting struct {
		Kind      string             `json:"kind"`
		Off       int                `json:"offset"`
		Size      int                `json:"size"`
		Kconfig   []manifestKconfig  `json:"kconfig,omitempty"`
		StructOps *manifestStructOps `json:"struct_ops,omitempty"`
		Member    string             `json:"member,omitempty"`
		Function  string             `json:"function,omitempty"`
		Prototype uint32             `json:"prototype,omitempty"`
	}
	manifestKconfig struct {
		Name   string `json:"name"`
		Offset uint32 `json:"offset"`
		Size   uint32 `json:"size"`
		Type   string `json:"type"`
		Signed bool   `json:"signed,omitempty"`
		Weak   bool   `json:"weak,omitempty"`
	}
	manifestStructOps struct {
		Type    string           `json:"type"`
		Members []manifestMember `json:"members"`
	}
	manifestMember struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
		Size uint32 `json:"size"`
		Set  bool   `json:"set,omitempty"`
	}
	manifestNeed struct {
		Capability string `json:"capability"`
		Why        string `json:"why"`
	}
)

// all converts each element of a list. It returns nil for an empty one.
func all[T, U any](list []T, convert func(T) U) []U {
	var out []U
	for _, v := range list {
		out = append(out, convert(v))
	}
	return out
}

func rangeOf(r Range) *manifestRange {
	if r == (Range{}) {
		return nil
	}
	return &manifestRange{r.Off, r.Size}
}

func (r *manifestRange) of() Range {
	if r == nil {
		return Range{}
	}
	return Range{r.Off, r.Size}
}

func (a *Artefact) manifest() *manifest {
	m := &manifest{
		Object: a.Object, License: a.License, Context: a.Context, Types: rangeOf(a.Types),
		Maps: all(a.Maps, writeMap), Steps: all(a.Steps, func(s Step) manifestStep { return manifestStep(s) }),
		Programs: all(a.Programs, func(p Program) manifestProgram {
			return manifestProgram{p.Name, p.Section, p.Type, p.AttachType, p.FD, p.Link, p.Log, manifestRange(p.Attr), p.Module, p.Replaces}
		}),
		Settings: all(a.Settings, writeSetting), Needs: all(a.Needs, func(n Need) manifestNeed { return manifestNeed(n) }),
	}
	if m.Maps == nil {
		m.Maps = []manifestMap{}
	}
	if m.Programs == nil {
		m.Programs = []manifestProgram{}
	}
	return m
}

func writeMap(m Map) manifestMap {
	out := manifestMap{
		Name: m.Name, Kind: m.Kind, Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		Flags: m.Flags, Extra: m.Extra, Mmapable: m.Mmapable, ReadOnly: m.ReadOnly, Pinned: m.Pinned,
		FD: m.FD, Attr: manifestRange(m.Attr), Delta: m.Delta, Value: rangeOf(m.Value), Update: m.Update,
		Variables: all(m.Variables, func(v Variable) manifestVariable { return manifestVariable{v.Name, v.Offset, v.Size} }),
	}
	if m.Arena {
		out.Arena = &manifestArena{Data: manifestRange(m.Data), Globals: slices.Concat([]int{}, m.Globals)}
	}
	return out
}

func readMap(m manifestMap) Map {
	out := Map{
		Name: m.Name, Kind: m.Kind, Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		Flags: m.Flags, Extra: m.Extra, Mmapable: m.Mmapable, ReadOnly: m.ReadOnly, Pinned: m.Pinned,
		FD: m.FD, Attr: Range(m.Attr), Delta: m.Delta, Value: m.Value.of(), Update: m.Update,
		Variables: all(m.Variables, func(v manifestVariable) Variable { return Variable{v.Name, v.Off, v.Size} }),
	}
	if m.Arena != nil {
		out.Arena, out.Data, out.Globals = true, Range(m.Arena.Data), m.Arena.Globals
	}
	return out
}

func writeSetting(s Setting) manifestSetting {
	out := manifestSetting{
		Kind: s.Kind, Off: s.Offset, Size: s.Size, Member: s.Member, Function: s.Function, Prototype: s.Prototype,
		Kconfig: all(s.Kconfig, func(k Kconfig) manifestKconfig { return manifestKconfig(k) }),
	}
	if s.StructOps != nil {
		out.StructOps = &manifestStructOps{s.StructOps.Type, all(s.StructOps.Members, func(m Member) manifestMember { return manifestMember(m) })}
	}
	return out
}

func readSetting(s manifestSetting) Setting {
	out := Setting{
		Kind: s.Kind, Offset: s.Off, Size: s.Size, Member: s.Member, Function: s.Function, Prototype: s.Prototype,
		Kconfig: all(s.Kconfig, func(k manifestKconfig) Kconfig { return Kconfig(k) }),
	}
	if s.StructOps != nil {
		out.StructOps = &StructOps{s.StructOps.Type, all(s.StructOps.Members, func(m manifestMember) Member { return Member(m) })}
	}
	return out
}

// parseJSON reads a section that holds one JSON value. It refuses unknown fields, because a runtime
// cannot replay what it does not understand.
func parseJSON(what string, data []byte, read func(*json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := read(d); err != nil {
		return malformed("%s: %v", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("%s: something follows it", what)
	}
	return nil
}

func (a *Artefact) parseManifest(d *json.Decoder) error {
	var m manifest
	if err := d.Decode(&m); err != nil {
		return err
	}
	a.Object, a.License, a.Context, a.Types = m.Object, m.License, m.Context, m.Types.of()
	a.Maps, a.Settings = all(m.Maps, readMap), all(m.Settings, readSetting)
	a.Steps = all(m.Steps, func(s manifestStep) Step { return Step(s) })
	a.Needs = all(m.Needs, func(n manifestNeed) Need { return Need(n) })
	a.Programs = all(m.Programs, func(p manifestProgram) Program {
		return Program{p.Name, p.Section, p.Type, p.AttachType, p.FD, p.Link, p.Log, Range(p.Attr), p.Module, p.Replaces}
	})
	return nil
}
