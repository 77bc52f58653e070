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

// BaselineReport is the comparison of a run with its baseline.
type BaselineReport struct {
	File    string   `json:"file"`
	Source  string   `json:"source"` // source of the baseline's objects
	Changes []Change `json:"changes"`
	// Reasons are the comments in the baseline on cases that fail or differ, by case.
	Reasons map[string]string `json:"reasons,omitempty"`
}

// Explain adds reasons to the changes of cases that are gone, by name.
func (b *BaselineReport) Explain(absent map[string]string) {
	for i := range b.Changes {
		c := &b.Changes[i]
		if why, ok := absent[c.Case]; ok && c.What == WhatCase && c.Is == IsGone {
			c.Is += ": there is no object: " + why
		}
	}
}

// Values of changes that are about a whole case.
const (
	WhatCase = "case"
	IsGone   = "gone"
)

// Worse returns the number of changes for the worse.
func (b *BaselineReport) Worse() int {
	n := 0
	for _, c := range b.Changes {
		if c.Worse {
			n++
		}
	}
	return n
}

// with merges the changes of two parts of a run; either may be nil.
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
