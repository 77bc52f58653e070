package effects

import (
	"maps"
	"slices"
	"strings"
)

// Rounds is how often a load is repeated at most to tell noise from a difference.
const Rounds = 3

// Sample is what one load did: effects by name. What is not there did not happen.
//
// A name may have two parts, with a tab between them: the field that is reported,
// and a place in it, "map counts contents after trigger\t[1]+8".
type Sample map[string]string

// Text is the sample for a person: both parts of a name in one.
func (s Sample) Text() map[string]string {
	out := make(map[string]string, len(s))
	for name, value := range s {
		out[strings.ReplaceAll(name, "\t", " ")] = value
	}
	return out
}

// NotLoaded is the effect "program x" or "map x" of what an engine did not load:
// nothing else about it can be compared.
const NotLoaded = "not loaded"

// Difference is an effect in which two engines disagree.
type Difference struct {
	Field  string
	A, B   string
	Detail string // all places, if there are several
}

// Compare compares what two engines did, each in one sample or more. An engine
// without a sample has not been asked to do anything.
func Compare(a, b []Sample) []Difference {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	var out []Difference
	for _, name := range names(a, b) {
		va, vb := values(a, name), values(b, name)
		if agree(va, vb) {
			continue
		}
		field, place, _ := strings.Cut(name, "\t")
		d := Difference{Field: field, A: at(place, va[0]), B: at(place, vb[0])}
		if a, b := short(d.A), short(d.B); a != d.A || b != d.B {
			d.A, d.B, d.Detail = a, b, d.A+"\n"+d.B+"\n"
		}
		if n := len(out); n > 0 && out[n-1].Field == field {
			last := &out[n-1]
			if last.Detail == "" {
				last.Detail = last.A + ", " + last.B + "\n"
			}
			last.Detail += d.A + ", " + d.B + "\n"
			continue
		}
		out = append(out, d)
	}
	return out
}

// Noise lists the effects that vary between samples of one engine.
func Noise(samples []Sample) []string {
	var out []string
	for _, name := range names(samples) {
		if varies(values(samples, name)) {
			out = append(out, strings.ReplaceAll(name, "\t", " "))
		}
	}
	return out
}

// names are the names of all effects that can be compared, sorted.
func names(sides ...[]Sample) []string {
	all := make(map[string]bool)
	absent := make(map[string]bool)
	for _, side := range sides {
		for _, s := range side {
			for name, value := range s {
				all[name] = true
				if value == NotLoaded {
					absent[name] = true
				}
			}
		}
	}
	for name := range all {
		if what, _, ok := cutSubject(name); absent[name] || ok && absent[what] {
			delete(all, name)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// cutSubject cuts "program x" from the name of one of its effects.
func cutSubject(name string) (subject, effect string, ok bool) {
	parts := strings.SplitN(name, " ", 3)
	if len(parts) < 3 {
		return "", "", false
	}
	return parts[0] + " " + parts[1], parts[2], true
}

func values(samples []Sample, name string) []string {
	out := make([]string, 0, len(samples))
	for _, s := range samples {
		out = append(out, s[name])
	}
	return out
}

// agree reports whether two engines agree on an effect, by its values in their
// samples.
func agree(a, b []string) bool {
	if slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) }) {
		return true
	}
	if !varies(a) && !varies(b) {
		return false
	}
	// Noise, unless it is there always on one side and never on the other.
	return !(never(a) && !slices.Contains(b, "") || never(b) && !slices.Contains(a, ""))
}

func varies(v []string) bool { return len(slices.Compact(slices.Sorted(slices.Values(v)))) > 1 }

func never(v []string) bool { return !slices.ContainsFunc(v, func(s string) bool { return s != "" }) }

// short makes a value fit for a table.
func short(s string) string {
	const limit = 100
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func at(place, value string) string {
	if value == "" {
		value = "nothing"
	}
	return strings.TrimSpace(place + " " + value)
}
