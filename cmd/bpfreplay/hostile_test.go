package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Opcodes (include/uapi/linux/bpf.h), and helpers.
const (
	opImm64, opMov, opAdd, opShift = 0x18, 0xb7, 0x07, 0x67
	opIfEqual, opIfMore, opIfLess  = 0x15, 0x25, 0xa5
	opCall                         = 0x85

	helperRandom = 7   // bpf_get_prandom_u32
	helperLoop   = 181 // bpf_loop
)

// busyVerifier has small, correct programs that keep the verifier busy for seconds each. In each
// round of a loop a program takes one of two branches and records it in r7. So no two paths ever
// reach the same state, and the verifier compares each state with all those that it has stored. The
// number of programs makes the object's load take minutes, even on a fast machine.
func busyVerifier() *random.Object {
	const (
		programs = 300
		rounds   = 14 // 2^14 paths of 14 rounds: half of the verifier's limit of a million instructions
	)
	round := random.Block{
		What: "round",
		Head: []random.Insn{
			{Op: opCall, Imm: helperRandom},
			{Op: opShift, Dst: 7, Imm: 1},
			{Op: opIfMore, Dst: 0, Imm: 1000, To: random.ToTail},
			{Op: opAdd, Dst: 7, Imm: 1},
		},
		Tail: []random.Insn{{Op: opAdd, Dst: 8, Imm: 1}},
	}
	loop := random.Block{
		What: "loop",
		Head: []random.Insn{{Op: opMov, Dst: 8}},
		Body: []random.Block{round},
		Tail: []random.Insn{
			{Op: opIfLess, Dst: 8, Imm: rounds, To: random.ToBody},
			{Op: opIfEqual, Dst: 7, Imm: 12345, To: random.ToEnd}, // keeps r7 live
			{Op: opMov, Dst: 8},
		},
	}
	o := &random.Object{License: "GPL"}
	for i := range programs {
		o.Functions = append(o.Functions, random.Function{
			Name: fmt.Sprintf("busy%d", i), Role: random.Program, Section: "socket", Global: true, Blocks: []random.Block{loop},
		})
	}
	return o
}

// kernelWarns has a program whose load triggers a warning of the kernel: see docs/findings.md, "A
// callback that is never met".
func kernelWarns() *random.Object {
	never := []random.Insn{
		{Op: opMov, Dst: 1},
		{Op: opImm64, Dst: 2, Ref: &random.Ref{Name: "never", BySection: true}},
		{Op: opMov, Dst: 3}, {Op: opMov, Dst: 4}, {Op: opCall, Imm: helperLoop},
	}
	calls := []random.Insn{{Op: opMov, Dst: 1, Imm: 1}, {Op: opCall, Ref: &random.Ref{Name: "loops", BySection: true}}}
	return &random.Object{License: "GPL", Functions: []random.Function{
		{Name: "never", Role: random.OfLoop, Section: ".text"},
		{Name: "loops", Role: random.Subprogram, Section: ".text", Blocks: []random.Block{{What: "bpf_loop", Head: never}}},
		{Name: "warned", Role: random.Program, Section: "socket", Global: true, Blocks: []random.Block{{What: "call", Head: calls}}},
	}}
}

// foreignRun runs objects as an external suite, in guests that panic on a warning.
func foreignRun(t *testing.T, paths []string) *result.Report {
	t.Helper()
	store, err := vmimage.Open(vmimage.Options{})
	assert.NilError(t, err)
	defer store.Close()
	kernel, err := store.Resolve(t.Context(), "6.12")
	assert.NilError(t, err)
	r, err := run.Suite(t.Context(), suite.NewForeign("hostile", paths), run.Options{
		Config: guest.Config{
			Store: store, Kernel: kernel, Agent: command, Accelerator: accel.TCG, Params: []string{"panic_on_warn=1"},
			Note: func(line string) { t.Log(line) },
		},
		Engines: []string{"direct", "trace", "replay"}, Out: t.TempDir(), LoadOnly: true, NoRetry: true, EngineTimeout: 30 * time.Second,
	})
	assert.NilError(t, err)
	return r
}

// toldOf returns the report of a case without times, and without logs, which contain addresses.
func toldOf(r *result.Report, name string) any {
	i := slices.IndexFunc(r.Cases, func(c result.CaseReport) bool { return c.Name == name })
	c := r.Cases[i]
	c.Seconds = 0
	for i := range c.Loads {
		c.Loads[i].Nanoseconds, c.Loads[i].Opened, c.Loads[i].Log = 0, 0, ""
	}
	return c
}

// An object that takes the verifier minutes, and one that makes the guest's kernel panic, affect
// only their own cases, and leave nothing behind on this machine.
func TestHostileObjects(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	temp, objects := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	var good []string
	for _, name := range []string{"maps_hash", "license_other", "fail_verifier", "data_sections"} {
		good = append(good, filepath.Join(root(t), "selftests/bpf", name+".bpf.o"))
	}
	hostile := make(map[string]string)
	for name, o := range map[string]*random.Object{"busy": busyVerifier(), "panics": kernelWarns()} {
		data, err := o.ELF()
		assert.NilError(t, err)
		hostile[name] = filepath.Join(objects, name+".bpf.o")
		assert.NilError(t, os.WriteFile(hostile[name], data, 0o600))
	}
	before := foreignRun(t, good)
	r := foreignRun(t, []string{good[0], hostile["busy"], good[1], hostile["panics"], good[2], good[3]})
	assert.Equal(t, len(r.Cases), 6)
	for _, path := range good {
		name := strings.TrimSuffix(filepath.Base(path), ".bpf.o")
		assert.Check(t, is.DeepEqual(toldOf(r, name), toldOf(before, name)))
	}
	for i, says := range map[int][]string{
		1: {"guest did not answer in time: engine direct, phase load: more than 30s", "--engine-timeout", "not known: the guest was lost with engine direct"},
		3: {"guest panicked: Kernel panic - not syncing: kernel: panic_on_warn set", "jit_subprogs"},
	} {
		c := &r.Cases[i]
		assert.Check(t, is.Equal(c.Verdict(), result.Broken), c.Name)
		assert.Check(t, is.Len(c.Loads, 3))
		for _, l := range c.Loads {
			assert.Check(t, is.Equal(l.Result, wire.Broken))
		}
		for _, text := range says {
			assert.Check(t, is.Contains(told(c)+strings.Join(c.Console, "\n"), text))
		}
	}
	assert.Check(t, is.Equal(r.Summary[result.Broken], 6)) // two cases, each with three pairs of engines
	assert.Check(t, is.Equal(r.Failures, 0))
	assert.Check(t, is.DeepEqual(files(t, temp), []string(nil)))
	assert.Check(t, is.DeepEqual(children(t, os.Getpid()), []string(nil)))
}
