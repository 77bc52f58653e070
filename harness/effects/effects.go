package effects

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/field"
)

// Rounds is how often loads are repeated at most to tell noise from a difference.
const Rounds = 3

// Effect identifies a value in a sample: a field, and a place in it such as "[1]+8" in a map's
// contents.
type Effect struct {
	Field field.Field
	Place string
}

// String returns the effect as text for people.
func (e Effect) String() string { return strings.TrimRight(e.Field.String()+" "+e.Place, " ") }

// MarshalText encodes the effect as a key of a [Sample]. Names may contain any characters.
func (e Effect) MarshalText() ([]byte, error) {
	f := &e.Field
	return json.Marshal([]string{string(f.Kind), f.Name, f.Function, f.Attribute, e.Place})
}

// UnmarshalText decodes what MarshalText encodes.
func (e *Effect) UnmarshalText(b []byte) error {
	var part [5]string
	if err := json.Unmarshal(b, &part); err != nil {
		return err
	}
	*e = Effect{field.Field{Aspect: field.Aspect{Kind: field.Kind(part[0]), Attribute: part[3]}, Name: part[1], Function: part[2]}, part[4]}
	return nil
}

// Sample holds the effects of one load. An effect that did not occur is absent.
type Sample map[Effect]string

// Set records the value of a whole field.
func (s Sample) Set(f field.Field, value string) { s[Effect{Field: f}] = value }

// Text returns the sample as text for people.
func (s Sample) Text() map[string]string {
	out := make(map[string]string, len(s))
	for e, value := range s {
		out[e.String()] = value
	}
	return out
}

// NotLoaded is the value for a program or map that an engine did not load. Its other effects are
// not compared.
const NotLoaded = "not loaded"

// Difference is a field in which the effects of two engines differ.
type Difference struct {
	Field  field.Field
	A, B   string
	Detail string // all places if there are several, or the full values if they are long
	Pairs  []Pair // at all places, each value of one engine with each of the other
}

// Pair is a value of one engine and a value of the other at the same place.
type Pair struct{ A, B string }

// Compare compares the samples of two engines. It returns nil if either has no sample, because that
// engine was not exercised.
func Compare(a, b []Sample) []Difference {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	var out []Difference
	for _, e := range all(a, b) {
		va, vb := values(a, e), values(b, e)
		if agree(va, vb) {
			continue
		}
		d := Difference{Field: e.Field, A: at(e.Place, va[0]), B: at(e.Place, vb[0]), Pairs: pairs(va, vb)}
		if a, b := short(d.A), short(d.B); a != d.A || b != d.B {
			d.A, d.B, d.Detail = a, b, d.A+"\n"+d.B+"\n"
		}
		if n := len(out); n > 0 && out[n-1].Field == e.Field {
			last := &out[n-1]
			if last.Detail == "" {
				last.Detail = last.A + ", " + last.B + "\n"
			}
			last.Detail += d.A + ", " + d.B + "\n"
			last.Pairs = append(last.Pairs, d.Pairs...)
			continue
		}
		out = append(out, d)
	}
	return out
}

// Noise returns the effects that vary between samples of one engine.
func Noise(samples []Sample) []string {
	var out []string
	for _, e := range all(samples) {
		if varies(values(samples, e)) {
			out = append(out, e.String())
		}
	}
	return out
}

// all returns the effects to compare, sorted by their text.
func all(sides ...[]Sample) []Effect {
	found := make(map[Effect]bool)
	absent := make(map[field.Field]bool)
	for _, s := range slices.Concat(sides...) {
		for e, value := range s {
			found[e] = true
			if value == NotLoaded {
				absent[e.Field] = true
			}
		}
	}
	maps.DeleteFunc(found, func(e Effect, _ bool) bool { return absent[e.Field.Of()] })
	return slices.SortedFunc(maps.Keys(found), func(a, b Effect) int {
		return cmp.Or(strings.Compare(a.Field.String(), b.Field.String()), strings.Compare(a.Place, b.Place))
	})
}

func values(samples []Sample, e Effect) []string {
	out := make([]string, 0, len(samples))
	for _, s := range samples {
		out = append(out, s[e])
	}
	return out
}

// pairs returns each value of a with each value of b, once.
func pairs(a, b []string) []Pair {
	var out []Pair
	for _, x := range a {
		for _, y := range b {
			if p := (Pair{x, y}); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// agree reports whether two engines agree on an effect. a and b are its values in their samples.
func agree(a, b []string) bool {
	if slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) }) {
		return true
	}
	if !varies(a) && !varies(b) {
		return false
	}
	// The effect is noise, unless one side always has it and the other never.
	return !(never(a) && !slices.Contains(b, "") || never(b) && !slices.Contains(a, ""))
}

func varies(v []string) bool { return len(slices.Compact(slices.Sorted(slices.Values(v)))) > 1 }

func never(v []string) bool { return !slices.ContainsFunc(v, func(s string) bool { return s != "" }) }

// short shortens a value for a table.
func short(s string) string {
	const limit = 100
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func at(place, value string) string {
	return strings.TrimSpace(place + " " + cmp.Or(value, "nothing"))
}
