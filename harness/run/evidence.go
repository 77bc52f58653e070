package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/built"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// KeepAll, as [Options.Keep], keeps the artifacts of every verdict that is not equal. By default
// only failures leave a folder: most verdicts of a run are explained by rules that the report
// names, and their states are megabytes that nobody reads.
const KeepAll = "all"

// failedDir is the name of the directory, in the run's directory, that holds the folders.
const failedDir = "failed"

// evidence writes the artifacts that are needed to examine a case and to repeat it.
type evidence struct {
	*runner
	folders []string // one for each case, by index
	tools   func() (*tools, error)
}

// tools records the programs of the run and their versions, for readers who have others.
type tools struct {
	Bpfreplay string              `json:"bpfreplay"` // SHA-256 of the executable
	Build     string              `json:"build,omitempty"`
	Go        string              `json:"go,omitempty"`
	Cilium    string              `json:"cilium_ebpf,omitempty"`
	QEMU      string              `json:"qemu"` // its version line
	QEMUPath  string              `json:"qemu_path"`
	QEMUSum   string              `json:"qemu_sha256"`
	Bpftool   string              `json:"bpftool,omitempty"` // path
	ToolSum   string              `json:"bpftool_sha256,omitempty"`
	Kernel    result.KernelReport `json:"kernel"`
	// Engines has the versions of external engines.
	Engines     map[string]string `json:"engines,omitempty"`
	Accelerator string            `json:"accelerator"`
	Params      []string          `json:"params,omitempty"`
	Written     time.Time         `json:"written"`
}

// newEvidence removes the folders that a former run kept of these cases.
func newEvidence(r *runner) (*evidence, error) {
	e := &evidence{runner: r, tools: sync.OnceValues(r.findTools)}
	taken := make(map[string]bool)
	for i := range r.suite.Cases {
		dir := filepath.Join(r.Out, failedDir, unused(taken, folderName(r.suite.Cases[i].Name)))
		e.folders = append(e.folders, dir)
		if r.resumed(&r.suite.Cases[i]) != nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	begun, err := filepath.Glob(filepath.Join(r.Out, failedDir, unfinished+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range begun {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	// Remove the directory if it is empty, so that its presence means a failure.
	_ = os.Remove(filepath.Join(r.Out, failedDir))
	return e, nil
}

// unfinished is the prefix of folders that are not complete yet.
const unfinished = ".unfinished-"

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._+-]|^\.`)

// folderName makes a file name of a case's name.
func folderName(name string) string { return notInNames.ReplaceAllString(name, "_") }

// wanted reports whether a case leaves a folder.
func (e *evidence) wanted(c *result.CaseReport) bool {
	return !c.OK() || c.First != nil || e.Keep == KeepAll && c.Verdict() != result.Equal
}

// keep writes the folder of a case, whole or not at all. first is the previous attempt, or nil. An
// error is only noted: the verdict counts even without its artifacts.
func (e *evidence) keep(i int, a, first *attempt) {
	if !e.wanted(a.report) {
		return
	}
	a.report.Folder = e.folders[i]
	if err := e.write(i, a, first); err != nil {
		a.report.Folder = ""
		a.report.Notes = append(a.report.Notes, fmt.Sprintf("its evidence cannot be kept: %v", err))
	}
}

func (e *evidence) write(i int, a, first *attempt) (err error) {
	parent := filepath.Dir(e.folders[i])
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = failures.All(err, os.RemoveAll(dir))
		}
	}()
	f := &folder{dir: dir}
	e.repeat(f, i, a)
	f.json("report.json", a.report)
	f.attempt("", a)
	if first != nil {
		f.attempt("first", first)
	}
	f.text("trace.txt", explain(a.req))
	f.text("differences.txt", differences(a.report))
	found, err := e.tools()
	if err != nil {
		f.text("versions.txt", []byte(err.Error()+"\n"))
	} else {
		f.json("versions.json", found)
	}
	if f.err != nil {
		return f.err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(e.folders[i]); err != nil {
		return err
	}
	return os.Rename(dir, e.folders[i])
}

// folder is a folder that is being written. It stops at the first error.
type folder struct {
	dir string
	err error
}

func (f *folder) file(name string, data []byte, mode os.FileMode) {
	path := filepath.Join(f.dir, name)
	if f.err == nil {
		f.err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if f.err == nil {
		f.err = os.WriteFile(path, data, mode)
	}
}

func (f *folder) text(name string, data []byte) {
	if len(data) > 0 {
		f.file(name, data, 0o644)
	}
}

func (f *folder) json(name string, v any) {
	b, err := json.MarshalIndent(v, "", " ")
	if f.err == nil {
		f.err = err
	}
	f.text(name, append(b, '\n'))
}

// attempt writes the answers of the engines and the console of an attempt.
func (f *folder) attempt(at string, a *attempt) {
	f.text(filepath.Join(at, "console.log"), a.reply.Console)
	if at != "" {
		f.text(filepath.Join(at, "differences.txt"), differences(a.report))
	}
	if a.reply.Answer == nil {
		return
	}
	for i := range a.reply.Answer.Loads {
		l := &a.reply.Answer.Loads[i]
		f.json(filepath.Join(at, "load-"+folderName(l.Engine)+".json"), l)
		f.text(filepath.Join(at, "verifier-"+folderName(l.Engine)+".log"), []byte(l.Log))
	}
}

// repeat writes the case as a suite of its own, with its object and the commands that run it.
func (e *evidence) repeat(f *folder, i int, a *attempt) {
	c := &e.suite.Cases[i]
	own := *c
	own.Object, own.Replace = a.req.File, suite.ReplaceBeside(a.req.Replace)
	suite, err := yaml.Marshal(suite.Suite{Name: e.suite.Name, Cases: []suite.Case{own}, Partial: true, External: e.suite.External})
	if f.err == nil {
		f.err = err
	}
	f.text("cases.yaml", suite)
	f.text(filepath.Join("bpf", a.req.File), a.req.Object)
	for _, r := range a.req.Replace {
		f.text(filepath.Join("bpf", r.File), r.Object)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# Runs case %q once more, as it was run when it was %s (kernel %s).\n", c.Name, a.report.Outcome(), e.Kernel.Name)
	if e.Again != nil {
		for _, line := range e.Again(e.Kernel.Name, c.Name, e.folders[i]) {
			fmt.Fprintln(&b, line)
		}
	}
	f.file("again.sh", []byte(b.String()), 0o755)
}

// explain returns the trace of an object, or the reason why there is none.
func explain(req *wire.CaseRequest) []byte {
	obj, err := object.OpenBytes(req.Object, req.File)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	t, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	var b bytes.Buffer
	if _, err := t.WriteTo(&b); err != nil {
		return []byte(err.Error() + "\n")
	}
	return b.Bytes()
}

// differences returns the failures, notes and differences of a case as text.
func differences(c *result.CaseReport) []byte {
	var b bytes.Buffer
	for _, f := range c.Failures {
		fmt.Fprintf(&b, "failed: %s\n", f)
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for i := range c.Loads {
		l := &c.Loads[i]
		fmt.Fprintf(&b, "%s: %s %s %s\n", l.Engine, l.Result, l.Errno, l.Detail)
	}
	for _, p := range c.Verdicts {
		fmt.Fprintf(&b, "%s/%s: %s %s\n", p.A, p.B, p.Verdict, p.Reason)
	}
	for _, d := range c.Differences() {
		d.Write(&b)
	}
	return b.Bytes()
}

func (r *runner) findTools() (*tools, error) {
	r.mu.Lock()
	t := &tools{Kernel: r.report.Kernel, Accelerator: r.report.Accelerator, Params: r.Params, Written: time.Now().UTC()}
	t.Engines = make(map[string]string)
	for name, version := range r.report.Versions {
		t.Engines[name] = version
	}
	r.mu.Unlock()
	var err error
	if t.Bpfreplay, err = digest.OfFile(r.Agent); err != nil {
		return nil, err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		t.Build, t.Go = info.Main.Version, info.GoVersion
	}
	t.Cilium = built.With("github.com/cilium/ebpf")
	if t.QEMUPath, err = r.Emulator(); err != nil {
		return nil, err
	}
	if t.QEMUSum, err = digest.OfFile(t.QEMUPath); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	said, err := exec.CommandContext(ctx, t.QEMUPath, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("version of %s: %w", t.QEMUPath, err)
	}
	t.QEMU, _, _ = strings.Cut(string(said), "\n")
	if !enginename.UseTool(r.Engines) {
		return t, nil
	}
	t.Bpftool = strings.Join(r.Bpftool, ",")
	if t.Bpftool == "" {
		if t.Bpftool, err = enginename.FindTool(); err != nil {
			return nil, err
		}
	}
	path, _, _ := strings.Cut(t.Bpftool, ",")
	t.ToolSum, err = digest.OfFile(path)
	return t, err
}
