package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// profiled are the functions of the kernel that are timed. The time of a function excludes calls of
// other profiled functions.
var profiled = []string{
	"__x64_sys_bpf", "__sys_bpf", "map_create", "map_update_elem", "map_freeze", "btf_new_fd", "btf_parse",
	"bpf_prog_load", "bpf_check", "bpf_core_apply", "bpf_prog_select_runtime", "bpf_int_jit_compile",
	"bpf_prog_test_run_syscall", "bpf_find_btf_id", "btf_find_by_name_kind", "kallsyms_lookup_name", "vfs_read",
	"bpf_prog_calc_tag", "check_attach_btf_id", "bpf_check_attach_target", "handle_mm_fault",
}

// tracer is the directory of the kernel's function graph tracer.
type tracer string

func newTracer() (tracer, error) {
	t := tracer("/sys/kernel/tracing")
	have, err := os.ReadFile(t.file("available_filter_functions"))
	if err != nil {
		return t, err
	}
	names := make(map[string]bool)
	for line := range strings.Lines(string(have)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		names[name] = true
	}
	profiled = slices.DeleteFunc(profiled, func(f string) bool { return !names[f] })
	return t, errors.Join(
		t.write("tracing_on", "0"),
		t.write("set_ftrace_filter", strings.Join(profiled, "\n")),
		t.write("buffer_size_kb", "32768"),
		t.write("current_tracer", "function_graph"),
		t.write("trace_options", "nofuncgraph-overhead"))
}

func (t tracer) file(name string) string { return filepath.Join(string(t), name) }

func (t tracer) write(name, value string) error {
	err := os.WriteFile(t.file(name), []byte(value), 0)
	if errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("%s: %s: %w", name, value, err)
	}
	return err
}

// times runs do and returns the time in each function, in nanoseconds. Functions that a loader
// program calls have a ">" before their name.
func (t tracer) times(do func() error) (map[string]float64, error) {
	if err := errors.Join(t.write("trace", ""), t.write("tracing_on", "1")); err != nil {
		return nil, err
	}
	err := do()
	if err := errors.Join(err, t.write("tracing_on", "0")); err != nil {
		return nil, err
	}
	f, err := os.Open(t.file("trace"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sum(bufio.NewScanner(f))
}

// sum adds up the times in a trace, whose lines are " 0)   1.234 us    |    f();" or the two lines
// " 0)               |    f() {" and " 0) @ 1234.5 us  |    } /* f */".
func sum(lines *bufio.Scanner) (map[string]float64, error) {
	total := make(map[string]float64)
	stacks := make(map[string][]string) // by CPU
	add := func(cpu, name string, us float64) {
		inside := ""
		if slices.Contains(stacks[cpu], "bpf_prog_test_run_syscall") {
			inside = ">"
		}
		total[inside+name] += us * 1000
		if n := len(stacks[cpu]); n > 0 {
			parent := stacks[cpu][n-1]
			if !slices.Contains(stacks[cpu][:n-1], "bpf_prog_test_run_syscall") {
				inside = ""
			}
			total[inside+parent] -= us * 1000
		}
	}
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), "|")
		cpu, took, ok2 := strings.Cut(left, ")")
		if !ok || !ok2 {
			continue
		}
		call := strings.TrimSpace(right)
		us, timed := microseconds(took)
		switch {
		case strings.HasSuffix(call, "() {"):
			stacks[cpu] = append(stacks[cpu], strings.TrimSuffix(call, "() {"))
		case strings.HasPrefix(call, "}"):
			if n := len(stacks[cpu]); n > 0 {
				name := stacks[cpu][n-1]
				stacks[cpu] = stacks[cpu][:n-1]
				add(cpu, name, us)
			}
		case timed && strings.HasSuffix(call, "();"):
			add(cpu, strings.TrimSuffix(call, "();"), us)
		}
	}
	return total, lines.Err()
}

func microseconds(s string) (float64, bool) {
	for _, f := range strings.Fields(s) {
		if v, err := strconv.ParseFloat(f, 64); err == nil {
			return v, true
		}
	}
	return 0, false
}
