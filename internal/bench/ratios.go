package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// report prints a summary. It writes this, and all measurements, as KERNEL-WHAT.txt and .tsv.
func (l *loadTimes) report() error {
	by := make(byObject)
	var leftOut []string
	var table strings.Builder
	for _, m := range l.results {
		if m.LeftOut != "" {
			leftOut = append(leftOut, m.Object+": "+m.Way+": "+m.LeftOut)
			continue
		}
		m.write(&table)
		by.add(m)
	}
	what, lines := "times", []string(nil)
	switch {
	case l.profile:
		what, lines = "profile", by.profile()
	case l.icount:
		what, lines = "icount", l.summary(by, "instructions that the guest executed")
	default:
		lines = l.summary(by, "time")
	}
	if len(leftOut) > 0 {
		lines = append(lines, fmt.Sprintf("left out: %d", len(leftOut)))
		lines = append(lines, leftOut...)
	}
	text := strings.Join(lines, "\n") + "\n"
	fmt.Print(text)
	base := filepath.Join(l.out, l.kernel+"-"+what)
	return errors.Join(os.MkdirAll(l.out, 0o755), os.WriteFile(base+".tsv", []byte(table.String()), 0o644), os.WriteFile(base+".txt", []byte(text), 0o644))
}

// write writes a measurement as a line with tabs, or as a line for each function.
func (m *measured) write(w *strings.Builder) {
	for _, f := range slices.Sorted(maps.Keys(m.Functions)) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\n", m.Object, m.Way, f, m.Functions[f])
	}
	if m.Functions != nil {
		return
	}
	result := "ok"
	if m.Failed != "" {
		result = "failed"
	}
	fmt.Fprintf(w, "%s\t%s\t%s", m.Object, m.Way, result)
	for _, t := range slices.Concat(m.Times[0][:], m.Times[1][:]) {
		fmt.Fprintf(w, "\t%d", t)
	}
	fmt.Fprintf(w, "\t%d\t%s\n", m.Programs, m.Failed)
}

const waySigned = "signed"

// waysInOrder are all ways but signed, in the order of the output.
var waysInOrder = []string{"cilium", "trace", "load", "replay", "replay-c", "libbpf", "libbpf-light"}

// ratios are the ratios of the summary, for fresh loads and for warm ones.
var ratios = []string{
	"replay / cilium load",
	"replay-c / cilium load",
	"load / cilium load",
	"replay / cilium open and load",
	"libbpf-light / cilium load",
	"replay / trace load",
	"replay / libbpf load",
	"replay-c / libbpf load",
	"load / libbpf load",
	"libbpf-light / libbpf load",
	"replay-c / libbpf open and load",
	"replay-c / libbpf-light",
	"replay / libbpf-light",
}

// byObject has measurements by the object's name and the way.
type byObject map[string]map[string]measured

func (b byObject) add(m measured) {
	if b[m.Object] == nil {
		b[m.Object] = make(map[string]measured)
	}
	b[m.Object][m.Way] = m
}

// common returns the names of the objects that are loaded in all of these ways.
func (b byObject) common(ways []string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b)), func(n string) bool {
		return slices.ContainsFunc(ways, func(w string) bool { return !b.loaded(n, w) })
	})
}

// loaded reports whether a way loads an object.
func (b byObject) loaded(name, way string) bool {
	m, ok := b[name][way]
	return ok && m.Failed == ""
}

// sums returns the sum of some parts of a load for each object.
func (b byObject) sums(names []string, way string, load int, parts ...int) []float64 {
	var out []float64
	for _, n := range names {
		var sum int64
		for _, p := range parts {
			sum += b[n][way].Times[load][p]
		}
		out = append(out, float64(sum))
	}
	return out
}

// summary returns the ratios of the measurements as lines of text.
func (l *loadTimes) summary(by byObject, clock string) []string {
	ways := waysInOrder
	if l.signed {
		ways = append(slices.Clone(ways), waySigned)
	}
	common := by.common(ways)
	some := slices.DeleteFunc(slices.Clone(common), func(n string) bool { return by[n]["replay"].Programs == 0 })
	out := []string{
		fmt.Sprintf("kernel %s: %d objects, %d are loaded in all ways, %d of them have programs", l.kernel, len(by), len(common), len(some)),
		fmt.Sprintf("ratios of %s, best of %d: median, 10th to 90th percentile, ratio of medians", clock, l.rounds), "",
	}
	out = append(out, by.ratios("all of them", common, ways)...)
	if len(some) < len(common) {
		out = append(out, by.ratios("those with programs", some, ways)...)
	}
	for _, w := range ways {
		failed := slices.DeleteFunc(slices.Sorted(maps.Keys(by)), func(n string) bool { return by.loaded(n, w) })
		if len(failed) > 0 {
			out = append(out, fmt.Sprintf("not loaded by %s: %d: %s", w, len(failed), strings.Join(failed[:min(len(failed), 12)], " ")))
		}
	}
	return out
}

// ratios returns the ratios of some objects as lines of text.
func (b byObject) ratios(title string, names, ways []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := []string{title}
	line := func(what string, a, z []float64) {
		var r []float64
		for i := range a {
			r = append(r, a[i]/z[i])
		}
		slices.Sort(r)
		out = append(out, fmt.Sprintf("  %-42s %5.2f %6.2f to %.2f %6.2f", what, median(r), r[len(r)/10], r[len(r)*9/10], median(a)/median(z)))
	}
	what := ratios
	if slices.Contains(ways, waySigned) {
		what = append(slices.Clone(ratios), waySigned+" / replay")
	}
	for load, label := range []string{"fresh", "warm"} {
		for _, ratio := range what {
			a, of, _ := strings.Cut(ratio, " / ")
			z, whole := strings.CutSuffix(of, " open and load")
			parts := []int{partLoad}
			if whole {
				parts = append(parts, partOpen)
			}
			line(label+": "+ratio, b.sums(names, a, load, partLoad), b.sums(names, strings.TrimSuffix(z, " load"), load, parts...))
		}
	}
	line("bytes: replay-c / libbpf-light", b.sums(names, "replay-c", 0, partBytes), b.sums(names, "libbpf-light", 0, partBytes))
	for _, w := range ways {
		var parts []string
		for load, label := range []string{"", "warm "} {
			for part, name := range []string{"open", "load", "verify", "run"} {
				if m := median(b.sums(names, w, load, part)) / 1e6; m > 0 {
					parts = append(parts, fmt.Sprintf("%s%s %.2f", label, name, m))
				}
			}
		}
		out = append(out, fmt.Sprintf("  %-13s ms: %s", w, strings.Join(parts, ", ")))
	}
	return append(out, "")
}

// profile returns the time in each function, as lines of text: for the median object, and for all
// objects together.
func (b byObject) profile() []string {
	common := b.common(waysInOrder)
	out := []string{fmt.Sprintf("%d objects that are loaded in all ways", len(common)), "ms for one load, half of a fresh and a warm one: median, sum"}
	for _, w := range waysInOrder {
		out = append(out, w)
		values, sums := make(map[string][]float64), make(map[string]float64) // by function
		for i, n := range common {
			for f, ns := range b[n][w].Functions {
				if values[f] == nil {
					values[f] = make([]float64, len(common))
				}
				values[f][i] = ns / 2e6 // each process loads twice
				sums[f] += ns / 2e6
			}
		}
		bySum := func(a, z string) int { return cmp.Or(cmp.Compare(sums[z], sums[a]), cmp.Compare(a, z)) }
		for _, f := range slices.SortedFunc(maps.Keys(sums), bySum) {
			if sums[f]/float64(len(common)) > 0.005 {
				out = append(out, fmt.Sprintf("  %-32s %9.3f %10.1f", f, median(values[f]), sums[f]))
			}
		}
	}
	return out
}
