package result

import (
	"cmp"
	"maps"
	"slices"
)

// Change is one difference between a run and its baseline.
type Change struct {
	Case  string `json:"case"`
	What  string `json:"what"` // an engine, a pair of engines, "failures", "case"
	Was   string `json:"was"`
	Is    string `json:"is"`
	Worse bool   `json:"worse"`
}

// BaselineReport is how a run compares with its baseline.
type BaselineReport struct {
	File    string   `json:"file"`
	Source  string   `json:"source"` // of the objects that it is about
	Changes []Change `json:"changes"`
	// Reasons are what people wrote in the baseline about cases that are not as they
	// should be, by case.
	Reasons map[string]string `json:"reasons,omitempty"`
}

// Explain says of cases that are gone why they are, by name.
func (b *BaselineReport) Explain(absent map[string]string) {
	for i := range b.Changes {
		c := &b.Changes[i]
		if why, ok := absent[c.Case]; ok && c.What == WhatCase && c.Is == IsGone {
			c.Is += ": there is no object: " + why
		}
	}
}

// Words of changes that are about a whole case.
const (
	WhatCase = "case"
	IsGone   = "gone"
)

// Worse is how many changes are for the worse.
func (b *BaselineReport) Worse() int {
	n := 0
	for _, c := range b.Changes {
		if c.Worse {
			n++
		}
	}
	return n
}

// with is what two parts of a run changed; either may be nil.
func (b *BaselineReport) with(other *BaselineReport) *BaselineReport {
	if b == nil || other == nil {
		return cmp.Or(b, other)
	}
	out := *b
	out.Changes = slices.Concat(b.Changes, other.Changes)
	out.Reasons = make(map[string]string)
	maps.Copy(out.Reasons, b.Reasons)
	maps.Copy(out.Reasons, other.Reasons)
	return &out
}
