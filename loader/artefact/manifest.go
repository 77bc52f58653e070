package artefact

import (
	"bytes"
	"encoding/json"
	"io"
)

// The manifest as JSON. The fields have the order of the file.
type (
	manifest struct {
		Object   string        `json:"object"`
		License  string        `json:"license"`
		Context  int           `json:"context_size"`
		Maps     []manifestMap `json:"maps"`
		Programs []Program     `json:"programs"`
		Steps    []Step        `json:"steps"`
		Settings []Setting     `json:"settings,omitempty"`
		Needs    []Need        `json:"needs,omitempty"`
		Types    Range         `json:"types,omitzero"`
	}
	manifestMap struct {
		Map
		Arena     *manifestArena `json:"arena,omitempty"`
		Variables []Variable     `json:"variables,omitempty"`
	}
	manifestArena struct {
		Data    Range `json:"data"`
		Globals []int `json:"globals"`
	}
)

func (a *Artefact) manifest() *manifest {
	m := &manifest{
		Object: a.Object, License: a.License, Context: a.Context, Maps: make([]manifestMap, len(a.Maps)),
		Programs: append([]Program{}, a.Programs...), Steps: a.Steps, Settings: a.Settings, Needs: a.Needs, Types: a.Types,
	}
	for i, v := range a.Maps {
		m.Maps[i] = manifestMap{Map: v, Variables: v.Variables}
		if v.Arena {
			m.Maps[i].Arena = &manifestArena{v.Data, v.Globals}
		}
	}
	return m
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
	a.Object, a.License, a.Context, a.Types = m.Object, m.License, m.Context, m.Types
	a.Programs = append(a.Programs, m.Programs...) // nil if there are none
	a.Steps, a.Settings, a.Needs = m.Steps, m.Settings, m.Needs
	for _, v := range m.Maps {
		v.Map.Variables = v.Variables
		if v.Arena != nil {
			v.Map.Arena, v.Map.Data, v.Map.Globals = true, v.Arena.Data, v.Arena.Globals
		}
		a.Maps = append(a.Maps, v.Map)
	}
	return nil
}
