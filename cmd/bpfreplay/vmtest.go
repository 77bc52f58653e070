package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

type vmtestFlags struct {
	kernel      string
	suite       string
	cases       []string
	engines     []string
	bpftool     []string
	accelerator string
	qemu        string
	out         string
	params      []string
	bootTimeout time.Duration
	caseTimeout time.Duration
	mutate      string
	repeat      int
	fresh       bool
	verbose     bool
	json        bool
}

func newVMTest() *cobra.Command {
	var f vmtestFlags
	names := engine.Names()
	cmd := &cobra.Command{
		Use:   "vmtest [OBJECT...]",
		Short: "Load objects with each engine in a guest and compare what the kernel holds",
		Long: `vmtest boots a kernel in a guest, loads every object of a suite with each
engine, compares the states that result, and prints one line a case. The report
goes to OUT/KERNEL/report.json, the guest's console to console.log beside it.

With objects as arguments, these are the suite: each is to load.`,
		Example: `  bpfreplay vmtest --kernel 6.12
  bpfreplay vmtest --kernel 6.1 --case 'core_*'
  bpfreplay vmtest --kernel ~/linux my.bpf.o`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.kernel, "kernel", "k", "6.12", "a name in kernels.yaml, or the path of an image or of a built kernel tree")
	fl.StringVar(&f.suite, "suite", filepath.Join("selftests", "cases.yaml"), "the suite to run")
	fl.StringArrayVarP(&f.cases, "case", "c", nil, "only cases whose names match this pattern (may be repeated)")
	fl.StringSliceVarP(&f.engines, "engines", "e", engine.Defaults(), "engines to run, in this order: "+strings.Join(names, ", "))
	fl.StringSliceVar(&f.bpftool, "bpftool", nil, "the bpftool that libbpf and libbpf-light drive, an ELF file; behind it, with commas, what it runs")
	fl.StringVar(&f.accelerator, "accel", string(vm.Auto), "auto, kvm or tcg; auto is kvm if a probe shows that it works")
	fl.StringVar(&f.qemu, "qemu", vm.DefaultQEMU, "QEMU to run")
	fl.StringVarP(&f.out, "out", "o", "out", "directory for reports")
	fl.StringArrayVar(&f.params, "append", nil, "a kernel parameter to add (may be repeated)")
	fl.DurationVar(&f.bootTimeout, "boot-timeout", harness.DefaultBootTimeout, "how long a boot may take")
	fl.DurationVar(&f.caseTimeout, "case-timeout", harness.DefaultCaseTimeout, "how long a case may take")
	fl.StringVar(&f.mutate, "mutate", "", "break loader programs this way, to see that it is noticed: "+strings.Join(engine.Mutations(), ", "))
	fl.IntVar(&f.repeat, "repeat", 1, "how often each engine loads each object; the report has the shortest time")
	fl.BoolVar(&f.fresh, "fresh", false, "time the repetitions in a new process each, as for a program that loads one object")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show explained differences, too")
	fl.BoolVar(&f.json, "json", false, "print the report instead of lines for a person")
	_ = cmd.RegisterFlagCompletionFunc("kernel", completeKernels)
	_ = cmd.RegisterFlagCompletionFunc("engines", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("mutate", cobra.FixedCompletions(engine.Mutations(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *vmtestFlags) run(cmd *cobra.Command, args []string) error {
	suite, err := f.readSuite(args)
	if err != nil {
		return err
	}
	if _, err := engine.ByName(f.engines, engine.Tool{}); err != nil {
		return err
	}
	if f.mutate != "" && !slices.Contains(engine.Mutations(), f.mutate) {
		return fmt.Errorf("no mutation %q: there are %s", f.mutate, strings.Join(engine.Mutations(), ", "))
	}
	accel, err := vm.ParseAccelerator(f.accelerator)
	if err != nil {
		return err
	}
	note := func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
	store, err := vmimage.Open(vmimage.Options{Progress: note})
	if err != nil {
		return err
	}
	defer store.Close()
	kernel, err := store.Resolve(cmd.Context(), f.kernel)
	if err != nil {
		return err
	}
	self, err := agentProgram()
	if err != nil {
		return err
	}
	text := report.Text{W: cmd.OutOrStdout(), Verbose: f.verbose}
	opts := harness.Options{
		Store: store, Kernel: kernel, Agent: self, Engines: f.engines, Bpftool: f.bpftool,
		QEMU: f.qemu, Accelerator: accel, StateDir: stateDir(), Params: f.params,
		BootTimeout: f.bootTimeout, CaseTimeout: f.caseTimeout,
		Out:    filepath.Join(f.out, filepath.Base(filepath.Clean(f.kernel))),
		Mutate: f.mutate, Repeat: f.repeat, Fresh: f.fresh, Note: note,
	}
	if !f.json {
		opts.Done = text.Case
	}
	path := filepath.Join(opts.Out, "report.json")
	// What a former run found must not pass for what this one finds.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r, err := harness.Run(cmd.Context(), suite, opts)
	if err != nil {
		return err
	}
	if err := report.WriteJSON(path, r); err != nil {
		return err
	}
	if f.json {
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		text.Summary(r)
		fmt.Fprintln(cmd.OutOrStdout(), "report:", path)
	}
	switch {
	case r.OK():
		return nil
	case r.Summary[harness.Different] == 0 && r.Failures == 0:
		return errBroken
	default:
		return errFailed
	}
}

// agentProgram returns the path of this program, which is to run in guests,
// where there are no shared libraries.
func agentProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := elf.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return "", fmt.Errorf("%s needs shared libraries, which guests do not have: build it with CGO_ENABLED=0, as `make build` does", self)
	}
	return self, nil
}

// notObjects are the reasons why a file is not worth a guest. Whatever else is
// wrong with an object is for the engines to say.
var notObjects = []error{
	object.ErrEmpty, object.ErrNotELF, object.ErrTruncated, object.ErrClass,
	object.ErrBigEndian, object.ErrMachine, object.ErrNotRelocatable,
}

func checkObject(path string) error {
	_, err := loader.Open(path)
	var file *fs.PathError
	if errors.As(err, &file) || slices.ContainsFunc(notObjects, func(not error) bool { return errors.Is(err, not) }) {
		return err
	}
	return nil
}

func (f *vmtestFlags) readSuite(args []string) (*harness.Suite, error) {
	if len(args) > 0 {
		for _, path := range args {
			if err := checkObject(path); err != nil {
				return nil, err
			}
		}
		return harness.NewSuite(args).Select(f.cases)
	}
	suite, err := harness.ReadSuite(f.suite)
	if err != nil {
		return nil, err
	}
	return suite.Select(f.cases)
}

// stateDir is where what is known of this host is remembered, empty if the
// user has no place for it.
func stateDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bpfreplay", "host")
}
