package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// report writes the measurements, and prints a summary.
func (s *session) report() error {
	what, lines := "times", []string(nil)
	switch {
	case s.profile:
		what, lines = "profile", profileSummary(s.rows)
	case s.icount:
		what, lines = "icount", s.summary("instructions that the guest executed")
	default:
		lines = s.summary("time")
	}
	if len(s.leftOver) > 0 {
		lines = append(lines, fmt.Sprintf("left out: %d", len(s.leftOver)))
		lines = append(lines, s.leftOver...)
	}
	var table strings.Builder
	for _, row := range s.rows {
		fmt.Fprintln(&table, strings.Join(row, "\t"))
	}
	text := strings.Join(lines, "\n") + "\n"
	fmt.Print(text)
	base := filepath.Join(s.out, s.kernel+"-"+what)
	return errors.Join(os.MkdirAll(s.out, 0o755), os.WriteFile(base+".tsv", []byte(table.String()), 0o644), os.WriteFile(base+".txt", []byte(text), 0o644))
}

const waySigned = "signed"

// waysInOrder are all ways but signed, in the order of the output.
var waysInOrder = []string{"cilium", "trace", "load", "replay", "replay-c", "libbpf", "libbpf-light"}

// Fields of a line: the name, the way, the result, times, and more.
const (
	colName, colWay, colResult         = 0, 1, 2
	colOpen, colLoad                   = 3, 4
	colBytes, colWarmOpen, colWarmLoad = 7, 8, 9
	colPrograms                        = 13
	columns                            = 15
	colFunction, colTime, colsOfProf   = 2, 3, 4
)

var timeNames = map[int]string{3: "open", 4: "load", 5: "verify", 6: "run", 8: "warm open", 9: "warm load", 10: "warm verify", 11: "warm run"}

// byObject are rows by the object's name and the way.
type byObject map[string]map[string][]string

func (b byObject) number(name, way string, column int) float64 {
	v, _ := strconv.ParseFloat(b[name][way][column], 64)
	return v
}

// sums returns the sum of some columns for each object.
func (b byObject) sums(names []string, way string, cols ...int) []float64 {
	var out []float64
	for _, n := range names {
		sum := 0.0
		for _, c := range cols {
			sum += b.number(n, way, c)
		}
		out = append(out, sum)
	}
	return out
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// summary returns the ratios of the measurements as lines of text.
func (s *session) summary(clock string) []string {
	by := make(byObject)
	for _, row := range s.rows {
		if len(row) != columns {
			continue
		}
		if by[row[colName]] == nil {
			by[row[colName]] = make(map[string][]string)
		}
		by[row[colName]][row[colWay]] = row
	}
	ways := waysInOrder
	if s.signed {
		ways = append(slices.Clone(ways), waySigned)
	}
	var common, some []string
	for _, n := range slices.Sorted(maps.Keys(by)) {
		if !slices.ContainsFunc(ways, func(w string) bool { return by[n][w] == nil || by[n][w][colResult] != "ok" }) {
			common = append(common, n)
			if by.number(n, "replay", colPrograms) > 0 {
				some = append(some, n)
			}
		}
	}
	out := []string{
		fmt.Sprintf("kernel %s: %d objects, %d are loaded in all ways, %d of them have programs", s.kernel, len(by), len(common), len(some)),
		fmt.Sprintf("ratios of %s, best of %d: median, 10th to 90th percentile, ratio of medians", clock, s.rounds), "",
	}
	out = append(out, by.ratios("all of them", common, ways)...)
	if len(some) < len(common) {
		out = append(out, by.ratios("those with programs", some, ways)...)
	}
	for _, w := range ways {
		var failed []string
		for _, n := range slices.Sorted(maps.Keys(by)) {
			if row := by[n][w]; row == nil || row[colResult] != "ok" {
				failed = append(failed, n)
			}
		}
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
	line := func(what, a string, colsA []int, of string, colsOf []int) {
		x, y := b.sums(names, a, colsA...), b.sums(names, of, colsOf...)
		var r []float64
		for i := range x {
			r = append(r, x[i]/y[i])
		}
		slices.Sort(r)
		out = append(out, fmt.Sprintf("  %-42s %5.2f %6.2f to %.2f %6.2f", what, median(r), r[len(r)/10], r[len(r)*9/10], median(x)/median(y)))
	}
	for _, of := range []struct {
		label string
		load  int
		all   []int
	}{{"fresh", colLoad, []int{colOpen, colLoad}}, {"warm", colWarmLoad, []int{colWarmOpen, colWarmLoad}}} {
		load := []int{of.load}
		for _, a := range []string{"replay", "replay-c", "load"} {
			line(of.label+": "+a+" / cilium load", a, load, "cilium", load)
		}
		line(of.label+": replay / cilium open and load", "replay", load, "cilium", of.all)
		line(of.label+": libbpf-light / cilium load", "libbpf-light", load, "cilium", load)
		line(of.label+": replay / trace load", "replay", load, "trace", load)
		for _, a := range []string{"replay", "replay-c", "load", "libbpf-light"} {
			line(of.label+": "+a+" / libbpf load", a, load, "libbpf", load)
		}
		line(of.label+": replay-c / libbpf open and load", "replay-c", load, "libbpf", of.all)
		line(of.label+": replay-c / libbpf-light", "replay-c", load, "libbpf-light", load)
		line(of.label+": replay / libbpf-light", "replay", load, "libbpf-light", load)
		if slices.Contains(ways, waySigned) {
			line(of.label+": signed / replay", waySigned, load, "replay", load)
		}
	}
	bytes := []int{colBytes}
	line("bytes: replay-c / libbpf-light", "replay-c", bytes, "libbpf-light", bytes)
	for _, w := range ways {
		var parts []string
		for _, c := range slices.Sorted(maps.Keys(timeNames)) {
			if m := median(b.sums(names, w, c)) / 1e6; m > 0 {
				parts = append(parts, fmt.Sprintf("%s %.2f", timeNames[c], m))
			}
		}
		out = append(out, fmt.Sprintf("  %-13s ms: %s", w, strings.Join(parts, ", ")))
	}
	return append(out, "")
}

// profileSummary returns the time in each function, as lines of text: for the median object, and
// for all objects together.
func profileSummary(rows [][]string) []string {
	by := make(map[string]map[string]map[string]float64) // way, object, function
	functions := make(map[string]map[string]float64)     // way, function: in all objects
	for _, row := range rows {
		if len(row) != colsOfProf {
			continue
		}
		ns, err := strconv.ParseFloat(row[colTime], 64)
		if err != nil {
			continue
		}
		way, name := row[colWay], row[colName]
		if by[way] == nil {
			by[way], functions[way] = make(map[string]map[string]float64), make(map[string]float64)
		}
		if by[way][name] == nil {
			by[way][name] = make(map[string]float64)
		}
		by[way][name][row[colFunction]] = ns / 2e6 // each process loads twice
		functions[way][row[colFunction]] += ns / 2e6
	}
	var common []string
	for _, n := range slices.Sorted(maps.Keys(by[waysInOrder[0]])) {
		if !slices.ContainsFunc(waysInOrder, func(w string) bool { _, ok := by[w][n]["load"]; return !ok }) {
			common = append(common, n)
		}
	}
	out := []string{fmt.Sprintf("%d objects that are loaded in all ways", len(common)), "ms for one load, half of a fresh and a warm one: median, sum"}
	for _, w := range waysInOrder {
		out = append(out, w)
		names := slices.Collect(maps.Keys(functions[w]))
		slices.SortFunc(names, func(a, b string) int {
			if functions[w][a] != functions[w][b] {
				if functions[w][a] > functions[w][b] {
					return -1
				}
				return 1
			}
			return strings.Compare(a, b)
		})
		for _, f := range names {
			var values []float64
			sum := 0.0
			for _, n := range common {
				values = append(values, by[w][n][f])
				sum += by[w][n][f]
			}
			if len(values) > 0 && sum/float64(len(values)) > 0.005 {
				out = append(out, fmt.Sprintf("  %-32s %9.3f %10.1f", f, median(values), sum))
			}
		}
	}
	return out
}
