package runs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/baseline"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// foreignEngineTimeout allows for programs meant to exhaust the verifier, which take minutes under
// TCG.
const foreignEngineTimeout = 10 * time.Minute

// external sets the flags that the user has not set to values that suit external objects. Their
// programs are not run, because nobody has reviewed what they do to a guest. libbpf is the one of
// the same source if the suite has one, or of the fetched suite kernel, or else the machine's. The
// flags then look as if the user had set them, so that a rerun uses them, too: see [again].
func (f *vmtestFlags) external(cmd *cobra.Command, suite *suite.Suite) error {
	defaults := map[string]string{
		"load-only": "true", "engine-timeout": foreignEngineTimeout.String(), "jobs": strconv.Itoa(runtime.NumCPU()),
	}
	store, err := inputs.OpenStore(cmd, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	of, err := inputs.SuiteArch(cmd, f.Kernels, f.Archs)
	if err != nil {
		return err
	}
	tool := ""
	if of == arch.Native {
		tool = suiteTool(store, suite.Name)
	}
	if tool != "" {
		defaults["bpftool"] = tool
	}
	if !f.split { // bpftool cannot load one program of an object
		defaults["engines"] = strings.Join(inputs.DefaultEngines(tool != "" || len(f.Bpftool) > 0, f.Kernels, f.Archs...), ",")
	}
	if inputs.IsForeign(f.suite) {
		dir, err := inputs.InTree(cmd, filepath.Join("selftests", "baselines", f.suite))
		if err != nil {
			return err
		}
		if defaults["baselines"] = dir; f.split {
			defaults["baselines"] += "-programs"
		}
	}
	for name, value := range defaults {
		if flag := cmd.Flags().Lookup(name); flag == nil || flag.Changed {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// suiteTool returns the path of the bpftool that belongs to a suite, "" if there is none. It is a
// program for this machine.
func suiteTool(store *vmimage.Store, suite string) string {
	for _, name := range []string{suite, "kernel"} {
		c, err := suites.Read(store, name, arch.Native)
		if err != nil {
			continue
		}
		if tool := c.Tool(store); tool != "" {
			if _, err := os.Stat(tool); err == nil {
				return tool
			}
		}
	}
	return ""
}

// choose checks the flags, and reduces the suite to the cases that they select.
func (f *vmtestFlags) choose(suite *suite.Suite, kernels []string) (*suite.Suite, error) {
	switch {
	case !f.split:
	case !inputs.IsForeign(f.suite):
		return nil, fmt.Errorf("--split: it is for suites of others' objects: %s", strings.Join(suites.Names(), ", "))
	case enginename.UseTool(f.Engines):
		return nil, errors.New("--split: bpftool cannot load one program of an object; use engines direct, trace and replay")
	case len(enginename.Skeletons(f.Engines)) > 0:
		return nil, errors.New("--split: a skeleton loads all programs of an object; use engines direct, trace and replay")
	}
	if f.Baselines == "none" {
		f.Baselines = ""
	}
	if f.update && (f.Baselines == "" || len(kernels) > 1) {
		return nil, errors.New("--update-baseline: name a suite that has baselines, and one kernel")
	}
	if f.update && !f.whole() {
		file := baseline.File(f.Baselines, kernels[0])
		old, err := baseline.Read(file)
		if err != nil {
			return nil, err
		}
		if old != nil && old.Source != suite.Source {
			return nil, fmt.Errorf("--update-baseline: %s is of %s, and the objects are of %s: renew it with a run of all cases", file, old.Source, suite.Source)
		}
	}
	if !f.onlyFailed {
		return suite, nil
	}
	if len(kernels) > 1 {
		return nil, errors.New("--only-failed: name one kernel")
	}
	r, err := report.ReadJSON(filepath.Join(f.Out, result.KernelDir(kernels[0]), "report.json"))
	if err != nil {
		return nil, fmt.Errorf("--only-failed: %w", err)
	}
	if r.Suite != suite.Name {
		return nil, fmt.Errorf("--only-failed: the last run in %s was of suite %s", f.Out, r.Suite)
	}
	suite = suite.Only(r.Failed())
	if len(suite.Cases) == 0 {
		return nil, errors.New("--only-failed: nothing failed in the last run")
	}
	return suite, nil
}

// whole reports whether all of a suite is selected.
func (f *vmtestFlags) whole() bool { return len(f.cases) == 0 && !f.onlyFailed && f.shard == "" }

// renew writes the baseline from a run.
func (f *vmtestFlags) renew(r *result.Report) error {
	file := baseline.File(f.Baselines, r.Kernel.Name)
	old, err := baseline.Read(file)
	if err != nil {
		return err
	}
	if f.whole() {
		old.Prune(r)
	}
	b := baseline.New(r, old)
	if err := b.Write(file); err != nil {
		return err
	}
	r.Baseline = b.Compare(r, false) // compares equal
	r.Baseline.File = file
	return nil
}
