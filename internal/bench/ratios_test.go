package main

import (
	"bufio"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// Ratios are of objects that are loaded in all ways.
func TestSummary(t *testing.T) {
	l, by := loadTimes{bench: &bench{kernel: "6.12"}, rounds: 2}, make(byObject)
	add := func(name, way, failed string, load int64) {
		parts := [5]int64{5, load, 1, 1, 720}
		by.add(measured{Object: name, Way: way, Failed: failed, Times: times{parts, parts}, Programs: 1})
	}
	for i, name := range []string{"a", "b", "c"} {
		for _, way := range waysInOrder {
			load := int64(100)
			if way == "replay" {
				load = 10 * int64(i+1)
			}
			add(name, way, "", load)
		}
	}
	add("d", "cilium", "no", 0)
	text := strings.Join(l.summary(by, "time"), "\n")
	assert.Check(t, is.Contains(text, "kernel 6.12: 4 objects, 3 are loaded in all ways, 3 of them have programs"))
	assert.Check(t, is.Contains(text, "  fresh: replay / cilium load                 0.20   0.10 to 0.30   0.20"))
	assert.Check(t, is.Contains(text, "  warm: replay / cilium open and load         0.19   0.10 to 0.29   0.19"))
	assert.Check(t, is.Contains(text, "not loaded by cilium: 1: d"))
}

// The time of a function excludes the functions that it calls.
func TestProfile(t *testing.T) {
	const trace = ` 0)               |  __sys_bpf() {
 0)   2.000 us    |    map_create();
 0)               |    bpf_prog_test_run_syscall() {
 0)   1.500 us    |      map_create();
 0) @ 4.000 us    |    } /* bpf_prog_test_run_syscall */
 0) @ 10.000 us   |  }
`
	got, err := sum(bufio.NewScanner(strings.NewReader(trace)))
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(got, map[string]float64{
		"__sys_bpf": 4000, "map_create": 2000, ">map_create": 1500, "bpf_prog_test_run_syscall": 2500,
	}))
}
