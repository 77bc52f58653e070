package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// guestFlags are the flags of commands that boot guests.
type guestFlags struct {
	kernel        string
	archs         []string
	suite         string
	engines       []string
	bpftool       []string
	accelerator   string
	gdb           bool
	qemu          string
	out           string
	params        each
	qemuArgs      each
	bootTimeout   time.Duration
	engineTimeout time.Duration
	cold          bool
}

// newGuestFlags returns the defaults of commands that boot guests.
func newGuestFlags() guestFlags {
	return guestFlags{
		kernel: defaultKernel, suite: defaultSuite, accelerator: string(accel.Auto),
		bootTimeout: guest.DefaultBootTimeout, engineTimeout: run.DefaultEngineTimeout,
	}
}

// add adds the flags of commands that run cases and write reports.
func (f *guestFlags) add(cmd *cobra.Command, engines []string) {
	f.engines, f.out = engines, defaultOut
	f.addMachine(cmd)
	addFlags(cmd, flags{"engines": &f.engines, "bpftool": &f.bpftool, "out": &f.out, "engine-timeout": &f.engineTimeout})
	cmd.Flags().SetNormalizeFunc(formerNames)
}

// formerNames are names that flags had before.
func formerNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "case-timeout":
		name = "engine-timeout"
	case "still":
		name = "load-only"
	}
	return pflag.NormalizedName(name)
}

// addMachine adds the flags that select the kernel and configure its guest.
func (f *guestFlags) addMachine(cmd *cobra.Command) {
	addFlags(cmd, flags{
		"kernel": &f.kernel, "arch": &f.archs, "accel": &f.accelerator, "qemu": &f.qemu, "cold": &f.cold,
		"append": &f.params, "qemu-arg": &f.qemuArgs, "boot-timeout": &f.bootTimeout,
	})
}

// debugger makes the guest wait for gdb if the flag is set. The caller calls done after the last
// guest has ended.
func (f *guestFlags) debugger(cmd *cobra.Command, c *guest.Config) (done func(), err error) {
	if !f.gdb {
		return func() {}, nil
	}
	d, err := guestexec.OpenDebugger(cmd.Context(), c)
	if err != nil {
		return nil, err
	}
	for _, line := range d.Lines() {
		fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	c.Debugger = d.Socket()
	return d.Close, nil
}

// options returns the harness's options, with the kernel resolved and gdb set up if the flag is
// set. The caller calls done after the last guest has ended.
func (f *guestFlags) options(cmd *cobra.Command) (run.Options, func(), error) {
	o, found, err := f.withKernel(cmd)
	if err != nil {
		return o, nil, err
	}
	gone, err := f.debugger(cmd, &o.Config)
	if err != nil {
		found()
		return o, nil, err
	}
	return o, func() { gone(); found() }, nil
}

func (f *guestFlags) withKernel(cmd *cobra.Command) (o run.Options, done func(), err error) {
	o, err = f.common()
	if err != nil {
		return o, nil, err
	}
	o.Note = notes(cmd)
	o.Store, err = openStore(o.Note)
	if err != nil {
		return o, nil, err
	}
	if o.Kernel, err = f.resolve(cmd, o.Store); err != nil {
		o.Store.Close()
		return o, nil, err
	}
	if f.out == "" {
		return o, func() { o.Store.Close() }, nil
	}
	dir := filepath.Join(f.out, result.KernelDir(f.kernel))
	out, release, err := run.Claim(dir)
	if err != nil {
		o.Store.Close()
		return o, nil, err
	}
	if o.Out = out; out != dir {
		o.Note(fmt.Sprintf("another run is using %s: this one writes to %s", dir, out))
	}
	return o, func() { release(); o.Store.Close() }, nil
}

// resolve returns the kernel of a command that boots only one.
func (f *guestFlags) resolve(cmd *cobra.Command, store *vmimage.Store) (*vmimage.Kernel, error) {
	name, archs, err := oneKernel(cmd, store, f.kernel, f.archs)
	if err != nil {
		return nil, err
	}
	f.kernel, f.archs = name, nil // the name contains the architecture
	kernel, err := store.Resolve(cmd.Context(), f.kernel)
	if err == nil && len(archs) > 0 && !slices.Contains(archs, kernel.Arch) {
		err = fmt.Errorf("kernel %s is for %s, not for %s", f.kernel, kernel.Arch, strings.Join(archs, ", "))
	}
	return kernel, err
}

// oneKernel returns the name of the one kernel that --kernel and --arch select, and the values of
// --arch.
func oneKernel(cmd *cobra.Command, store *vmimage.Store, spec string, archs []string) (string, []string, error) {
	archs, err := parseArchs(archs)
	if err != nil {
		return "", nil, err
	}
	kernels, err := store.Expand(spec, archs...)
	if err != nil {
		return "", nil, err
	}
	if len(kernels) != 1 {
		return "", nil, fmt.Errorf("--kernel %s: %s takes one kernel, and these are several: %s", spec, cmd.Name(), strings.Join(kernels, ", "))
	}
	return kernels[0], archs, nil
}

// suiteArch returns the architecture of the kernels: programs of suite kernel are compiled for one.
// Without guests it is this machine's.
func (f *guestFlags) suiteArch() (string, error) {
	if f == nil {
		return arch.Native, nil
	}
	_, kernels, err := expandKernels(f.kernel, f.archs)
	if err != nil {
		return "", err
	}
	first, _, _ := arch.Cut(kernels[0])
	for _, k := range kernels {
		if of, _, _ := arch.Cut(k); of != first {
			return "", fmt.Errorf("the programs of a suite are compiled for one architecture, and %s is not for %s: run the suite for each", k, first)
		}
	}
	return first, nil
}

// parseArchs reads the values of --arch.
func parseArchs(names []string) ([]string, error) {
	var archs []string
	for _, name := range names {
		a, err := arch.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("--arch: %w", err)
		}
		archs = append(archs, a.Name)
	}
	return archs, nil
}

// common returns the options that do not depend on the kernel.
func (f *guestFlags) common() (o run.Options, err error) {
	if _, err := engine.ByName(f.engines, engine.Tool{}); err != nil {
		return o, err
	}
	by, err := accel.Parse(f.accelerator)
	if err != nil {
		return o, err
	}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	return run.Options{
		Config: guest.Config{
			Agent: self, QEMU: f.qemu, Accelerator: by, StateDir: stateDir(),
			Params: f.params, QEMUArgs: f.qemuArgs, BootTimeout: f.bootTimeout, Cold: f.cold,
		},
		Engines: f.engines, Bpftool: f.bpftool, EngineTimeout: f.engineTimeout, Out: f.out,
	}, nil
}

// defaultEngines returns the engines that run if none are named. They include libbpf if there is a
// bpftool, the caller's or this machine's, that runs on all kernels.
func defaultEngines(tool bool, kernels string, archs ...string) []string {
	engines := enginename.Defaults()
	for _, k := range strings.FieldsFunc(kernels, func(r rune) bool { return r == ',' || r == ' ' }) {
		of, _, _ := arch.Cut(k)
		archs = append(archs, of)
	}
	for _, name := range archs {
		if a, ok := arch.Find(name); !ok || a.Name != arch.Native {
			return engines
		}
	}
	if path, err := enginename.FindTool(); err == nil && !tool {
		_, err = vmimage.Programs(arch.Native, enginename.GuestTool, path) // in Ubuntu it is a script
		tool = err == nil
	}
	if tool {
		engines = append(engines, enginename.Libbpf)
	}
	return engines
}

// newReport returns the path of a report. It removes the report of a former run, which must not be
// taken for this one's.
func newReport(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return path, nil
}

// pageName is the name of the HTML page beside a report.
const pageName = "report.html"

// newReports returns the paths of a report and of its page; see [newReport].
func newReports(dir, name string) (path, page string, err error) {
	if path, err = newReport(dir, name); err != nil {
		return "", "", err
	}
	page, err = newReport(dir, pageName)
	return path, page, err
}

// readBefore returns the report of the previous run in a directory, nil if there is none.
func readBefore(dir string) *result.Report {
	r, err := report.ReadJSON(filepath.Join(dir, "report.json"))
	if err != nil {
		return nil // the report is only used for hints
	}
	return r
}

// deliver writes a report to path, and prints it in full or as a summary. pages are other forms of
// it that have been written already.
func deliver(cmd *cobra.Command, path string, r any, asJSON bool, sum func(), pages ...string) error {
	if err := report.WriteJSON(path, r); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	sum()
	fmt.Fprintln(cmd.OutOrStdout(), "report:", path)
	for _, page := range pages {
		fmt.Fprintln(cmd.OutOrStdout(), "page:  ", page)
	}
	return nil
}

// stateDir returns the directory for what is remembered about this host. It is empty if the user
// has no cache directory.
func stateDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bpfreplay", "host")
}
