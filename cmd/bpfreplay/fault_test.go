package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// faultVerdicts are the expected verdicts for each fault. For a fault that lets the case run, that
// is a failed expectation.
var faultVerdicts = map[string]struct {
	verdict result.Verdict
	says    string
}{
	"panic":         {result.Broken, "guest panicked: Kernel panic - not syncing: sysrq triggered crash"},
	"oops":          {result.Broken, "its kernel complained (bug): BUG: kernel NULL pointer dereference"},
	"soft-lockup":   {result.Broken, "its kernel complained (soft lockup): watchdog: BUG: soft lockup - CPU#0 stuck"},
	"out-of-memory": {result.Broken, "guest panicked: Kernel panic - not syncing: System is deadlocked on memory"},
	"full-disk":     {result.Broken, "no space left on device"},
	"garbage":       {result.Broken, "guest sent nonsense: no message of the protocol: invalid character"},
	"other-answer":  {result.Broken, `an answer to "another case", not to "fault-other-answer"`},
	"flood":         {result.Broken, "guest sent nonsense"},
	"flood-line":    {result.Broken, "a line of more than 128 MiB without an end"},
	"flood-console": {result.Broken, "guest did not answer in time" /* before its console has 64 MiB */},
	"drip":          {result.Broken, "guest did not answer in time"},
	"reset":         {result.Broken, "guest reset: no restart and no panic was announced"},
	"reboot":        {result.Broken, "guest rebooted"},
	"power-off":     {result.Broken, "guest powered off"},
	"qemu-killed":   {result.Broken, "QEMU was killed: signal 9"},
	"exit":          {result.Broken, "Attempted to kill init! exitcode=0x00000000"},
	"hang":          {result.Broken, "guest did not answer in time"},
	"hang-kernel":   {result.Broken, "guest did not answer in time"},
	"kasan":         {result.Explained, "the guest's kernel complained (KASAN): BUG: KASAN: use-after-free in bpf_fault"},
	"lockdep":       {result.Explained, "the guest's kernel complained (lockdep): WARNING: possible circular locking dependency detected"},
	"warning":       {result.Explained, "the guest's kernel complained (warning): WARNING: CPU: 0 PID: 1 at kernel/bpf/fault.c:1"},
}

// faultSuite has a case for each fault, each followed by a case without one.
func faultSuite(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("suite: faults\ncases:\n")
	objects := []string{"maps_hash", "maps_array", "license_other"}
	add := func(name, object string) {
		fmt.Fprintf(&b, "  - {name: %s, object: %s, skip: {count: it is not the subject}}\n", name, filepath.Join(root(t), "selftests/bpf", object+".bpf.o"))
	}
	for i, f := range agent.Faults() {
		add("fault-"+f.Name, "maps_hash")
		add("after-"+f.Name, objects[i%len(objects)])
	}
	path := filepath.Join(t.TempDir(), "cases.yaml")
	assert.NilError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	return path
}

// runFaults runs the suite and returns the report.
func runFaults(t *testing.T, wantStatus int, args ...string) *result.Report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, append([]string{
		"vmtest", "--kernel", "6.12", "--accel", "tcg", "--engines", "direct,replay,libbpf", "--json", "--load-only", "--out", t.TempDir(),
	}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	assert.Equal(t, cmd.ProcessState.ExitCode(), wantStatus, "%s", &stderr)
	var r result.Report
	assert.NilError(t, json.Unmarshal(out, &r))
	return &r
}

// told returns everything that the report says about the failure of a case.
func told(c *result.CaseReport) string {
	var said []string
	for _, p := range c.Verdicts {
		said = append(said, p.Reason)
	}
	for _, l := range c.Loads {
		said = append(said, l.Detail)
	}
	return strings.Join(append(said, c.Failures...), "\n")
}

// Each fault affects the verdict of its own case only, and is gone when the case is run once more
// without it.
func TestFaults(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	need.Program(t, "bpftool")
	suite := faultSuite(t)
	args := []string{"--suite", suite, "--jobs", "2", "--engine-timeout", "45s"}
	for _, f := range agent.Faults() {
		args = append(args, "--fault", "fault-"+f.Name+"="+f.Name+":once")
	}
	r := runFaults(t, cli.ExitOK, args...)
	assert.Equal(t, len(r.Cases), 2*len(agent.Faults()))
	verdicts := make(map[string]result.Verdict) // by object
	for i := range r.Cases {
		c := &r.Cases[i]
		if verdicts[c.Object] == "" {
			verdicts[c.Object] = c.Verdict()
		}
		assert.Check(t, c.OK(), "%s: %s", c.Name, told(c))
		assert.Check(t, is.Equal(c.Verdict(), verdicts[c.Object]), c.Name)
		name, faulty := strings.CutPrefix(c.Name, "fault-")
		if !faulty {
			continue
		}
		assert.Assert(t, c.First != nil, name)
		want := faultVerdicts[name]
		assert.Check(t, is.Equal(c.First.Verdict(), want.verdict), name)
		assert.Check(t, !c.First.OK(), name)
		assert.Check(t, is.Contains(told(c.First), want.says), name)
	}
}

// A case whose fault recurs fails, and leaves a complete folder.
func TestFaultStays(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	suite := faultSuite(t)
	r := runFaults(t, cli.ExitFailed, "--suite", suite, "--engines", "direct,replay", "--case", "*-exit", "--case", "*-kasan",
		"--fault", "fault-exit=exit", "--fault", "fault-kasan=kasan")
	assert.Equal(t, len(r.Cases), 4)
	for i := range r.Cases {
		c := &r.Cases[i]
		if !strings.HasPrefix(c.Name, "fault-") {
			assert.Check(t, c.OK() && c.Folder == "", c.Name)
			continue
		}
		assert.Check(t, !c.OK() && !c.First.OK(), c.Name)
		assert.Check(t, strings.Contains(strings.Join(c.Notes, "\n"), "once more alone in a new one"), "%v", c.Notes)
		for _, name := range []string{"again.sh", "cases.yaml", "bpf/maps_hash.bpf.o", "report.json", "versions.json", "console.log", "trace.txt", "differences.txt", "first/console.log"} {
			data, err := os.ReadFile(filepath.Join(c.Folder, name))
			assert.Check(t, err == nil && len(data) > 0, "%s: %s: %v", c.Name, name, err)
		}
		assert.Check(t, is.Equal(len(files(t, filepath.Dir(c.Folder))), 2), "nothing unfinished")
	}
	// If the agent answered, the folder has the state.
	kasan := r.Cases[2].Folder
	var load wire.Load
	data, err := os.ReadFile(filepath.Join(kasan, "load-replay.json"))
	assert.NilError(t, err)
	assert.NilError(t, json.Unmarshal(data, &load))
	assert.Assert(t, load.State != nil && len(load.State.Maps) > 0)

	// The script repeats the case, and accepts further flags.
	script := exec.CommandContext(t.Context(), filepath.Join(kasan, "again.sh"), "--no-retry", "--out", t.TempDir())
	out, err := script.CombinedOutput()
	assert.Assert(t, is.Contains(string(out), "the guest's kernel complained (KASAN)"), "%s", out)
	assert.Equal(t, script.ProcessState.ExitCode(), cli.ExitFailed, "%v", err)
}
