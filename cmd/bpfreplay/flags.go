package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Defaults of flags.
const (
	defaultKernel = "6.12"
	defaultTier   = "ci" // of commands that run on several kernels
	defaultOut    = "out"
)

// Headings of --help.
const (
	aboutCases    = "Cases and engines"
	aboutGuest    = "Guest"
	aboutProgram  = "Program in the guest"
	aboutRun      = "Scheduling"
	aboutReport   = "Report"
	aboutSkeleton = "Light skeleton"
	aboutSigned   = "Signatures"
	aboutRest     = "Other flags"
)

// headings are the headings of --help, in order.
var headings = []string{aboutCases, aboutGuest, aboutProgram, aboutRun, aboutReport, aboutSkeleton, aboutSigned, aboutRest}

// flagInfo is the meaning of a flag, which is the same in every command.
type flagInfo struct {
	short, heading, usage string
}

// flagTable has the flags of all commands.
var flagTable = map[string]flagInfo{
	"bpftool":      {"", aboutCases, "the bpftool that libbpf and libbpf-light drive, an ELF file; behind it, with commas, what it runs; none is this machine's"},
	"case":         {"c", aboutCases, "only cases whose names match this pattern, or with ! before it, not those (may be repeated)"},
	"effects":      {"", aboutCases, "run and attach programs, too, as vmtest does: only for a guest"},
	"engine":       {"e", aboutCases, "the engine that loads: " + strings.Join(enginename.Names(), ", ")},
	"expect":       {"", aboutCases, "of objects as arguments: ok, each is to load, or agreement, engines are to do the same with it"},
	"engines":      {"e", aboutCases, "engines that load, in this order: " + strings.Join(enginename.Names(), ", ") + "; libbpf by default, too, where bpftool is"},
	"fault":        {"", aboutCases, "CASE=FAULT: have the guest go wrong in this case, to see what then happens; with :once behind it, not again when the case is run once more; help lists the faults (may be repeated)"},
	"fresh":        {"", aboutCases, "time the repetitions in a new process each, as for a program that loads one object"},
	"list":         {"", aboutCases, "list the mutations of loads, and boot nothing"},
	"mutate":       {"", aboutCases, "break loader programs this way, to see that it is noticed (see bpfreplay mutate --list)"},
	"number":       {"n", aboutCases, "how many objects"},
	"objects":      {"", aboutCases, "directory to write all objects to"},
	"only":         {"", aboutCases, "only the object of this index"},
	"only-failed":  {"", aboutCases, "only cases that failed in the last report, or were worse than in the baseline"},
	"repeat":       {"", aboutCases, "how often each engine loads each object; the report has the shortest time"},
	"require":      {"", aboutCases, "only these engines have to load the objects"},
	"seed":         {"", aboutCases, "the seed; without it, one that is printed"},
	"split":        {"", aboutCases, "load each program of an object alone (not with the engines of libbpf)"},
	"states":       {"", aboutCases, "change the fields of states even if mutations are named"},
	"still":        {"", aboutCases, "run programs only as the suite says, and attach none"},
	"suite":        {"", aboutCases, "the suite that has the cases"},
	"test-modules": {"", aboutCases, "of suite kernel: load bpf_testmod and its kin in guests, and build them for the kernel if that was not done before"},

	"accel":        {"", aboutGuest, "auto, kvm or tcg; auto is kvm if a probe shows that it works"},
	"arch":         {"", aboutGuest, "the architecture of a kernel that is named without one: " + strings.Join(arch.Names(), ", ") + "; of vmtest, matrix, check and doctor several (default this machine's)"},
	"append":       {"", aboutGuest, "a kernel parameter to add (may be repeated)"},
	"boot-timeout": {"", aboutGuest, "how long a boot may take"},
	"cold":         {"", aboutGuest, "boot guests; without it they are copies of one that was booted once and saved"},
	"cpus":         {"", aboutGuest, fmt.Sprintf("processors of a guest (default 1; under KVM one for each of this machine's, %d at most)", vm.MostCPUs)},
	"host-port":    {"", aboutGuest, "a TCP port of this machine's loopback that the guest reaches, as host:PORT; it reaches nothing else (may be repeated)"},
	"gdb":          {"", aboutGuest, "stop the guest before its first instruction, wait for gdb, and print the line to attach it; nothing is too late then"},
	"kernel":       {"k", aboutGuest, "a name in kernels.yaml, with another architecture before it (arm64/6.12), or the path of an image or of a built kernel tree; of vmtest, matrix, check and doctor several, and tiers"},
	"memory":       {"", aboutGuest, "memory of a guest, in MiB; 0 for 1 GiB and what the files take"},
	"module":       {"", aboutGuest, "a kernel module to load before, with what it needs (may be repeated)"},
	"qemu":         {"", aboutGuest, "QEMU to run (default the one in PATH for the architecture)"},
	"qemu-arg":     {"", aboutGuest, "an argument of QEMU to add, one word; guests are booted then, and not copies of a saved one (may be repeated)"},
	"rwdir":        {"", aboutGuest, "a directory of this machine that the guest has at the same path and may change; it needs virtiofsd (may be repeated)"},
	"rootfs":       {"", aboutGuest, "host: this machine's root, read-only, with a layer for changes on top, instead of files by name"},

	"bare":    {"", aboutProgram, "leave out the files of a Go test's package"},
	"env":     {"", aboutProgram, "a variable NAME=VALUE, or NAME with the value that it has here (may be repeated)"},
	"get":     {"g", aboutProgram, "a file or a directory that it leaves, to be copied to the same path here (may be repeated)"},
	"timeout": {"", aboutProgram, "how long the program may take (default 10m; Go tests, as their -timeout says)"},
	"console": {"", aboutProgram, "write the guest's console to this file while it runs; - is standard error"},
	"splats":  {"", aboutProgram, "what it means that the guest's kernel complains while a program runs that ends well: fail is exit status 2, note a line"},
	"tty":     {"t", aboutProgram, "give it a terminal"},
	"with":    {"w", aboutProgram, "a file or a directory to take along; programs come with their libraries (may be repeated)"},

	"case-timeout": {"", aboutRun, "how long a case may take"},
	"fail-fast":    {"", aboutRun, "of several kernels, let the first that fails end the others"},
	"isolate":      {"", aboutRun, "run each case in a guest of its own"},
	"jobs":         {"j", aboutRun, "how many guests, or compilers, run at the same time; 0 for one a processor, fewer for few cases"},
	"memory-total": {"", aboutRun, "MiB that the guests of several kernels may take together; 0 for three quarters of what is free"},
	"no-retry":     {"", aboutRun, "do not run a case that fails once more, alone in a new guest"},
	"resume":       {"", aboutRun, "go on with the last run, which was interrupted: run only the cases that it has not run"},
	"shard":        {"", aboutRun, "run the part I/N of all kernels and cases, for one of several machines; see bpfreplay merge"},

	"baselines":       {"", aboutReport, `directory with a baseline KERNEL.txt for each kernel, or "none" (default, of suites kernel and wild: selftests/baselines/SUITE)`},
	"json":            {"", aboutReport, "print JSON instead of text"},
	"junit":           {"", aboutReport, "write a report in JUnit's XML to this file, too"},
	"keep":            {"", aboutReport, "of which cases to keep evidence in OUT/KERNEL/failed: failing, or all whose verdict is not equal"},
	"markdown":        {"", aboutReport, "write a summary in Markdown to this file, too"},
	"out":             {"o", aboutReport, "directory to write to; of merge and sign the file, of gen either"},
	"update-baseline": {"", aboutReport, "write the baseline anew from this run, instead of failing on changes"},
	"verbose":         {"v", aboutReport, "show explained differences, too"},
	"write-states":    {"", aboutReport, "a directory to write states to, one file an engine"},

	"artefact":    {"", aboutSkeleton, "of a skeleton: embed this file, which gen wrote of the object and sign signed"},
	"c":           {"", aboutSkeleton, "write a light skeleton in C: one header with the artefact in it"},
	"cc":          {"", aboutSkeleton, "compile the argument, a C source, with this clang; what follows -- are its flags"},
	"go":          {"", aboutSkeleton, "write a light skeleton in Go, and the artefact that it embeds"},
	"ident":       {"", aboutSkeleton, "name of the skeleton's type or struct; without it, that of the object"},
	"output-stem": {"", aboutSkeleton, "beginning of the names of the files; without it, the name of the skeleton in lower case"},
	"pkg":         {"", aboutSkeleton, "of --go: name of the package; go generate sets GOPACKAGE"},
	"target":      {"", aboutSkeleton, "what the object is for: bpfel, native, or a GOARCH"},
	"type":        {"", aboutSkeleton, "of --go: declare this type of the object as well (may be repeated)"},

	"cert":      {"", aboutSigned, "a certificate (X.509), in PEM or DER; of load, check, exec and shell one that is trusted there (may be repeated)"},
	"attach":    {"", aboutSigned, "the loader program attaches programs, too, if their sections name to what: tp_btf, fentry, fexit, fmod_ret, lsm, iter"},
	"contract":  {"", aboutSigned, "contracts to sign for, of " + strings.Join(contractNames(), ", ") + "; none is all"},
	"detached":  {"", aboutSigned, "print what an external signer is to sign, and write nothing"},
	"enforce":   {"", aboutSigned, "refuse programs; without it, only log them"},
	"for":       {"", aboutSigned, "how long to enforce if nobody confirms"},
	"key":       {"", aboutSigned, "the private key, in PEM or DER"},
	"signed":    {"", aboutSigned, "load signed, too (engine signed): by a key that is made for it, or a file that sign wrote, by --cert"},
	"signature": {"", aboutSigned, "CONTRACT=FILE: what an external signer has returned (may be repeated)"},

	"again":    {"", aboutRest, "build although it is known what comes of it"},
	"all":      {"", aboutRest, "remove everything, also what is needed"},
	"clang":    {"", aboutRest, "the compiler; an llvm-strip has to be beside it"},
	"diff":     {"", aboutRest, "compare the traces of two objects"},
	"keyring":  {"", aboutSigned, "keyring of the keys that may sign: a serial, or " + strings.Join(keyring.Names(), ", ") + "; of policy, with commas"},
	"offline":  {"", aboutRest, "ask nothing over a network"},
	"pin":      {"", aboutRest, "a directory on a BPF file system to pin in; of load it is made"},
	"replace":  {"", aboutRest, "for an freplace program, NAME=PROGRAM: the program that it replaces, of load by id or pin, in guests OBJECT[:PROGRAM]; may be repeated"},
	"sections": {"", aboutRest, "whose rules hold for the names of sections: libbpf, or cilium, by which \"tc_ingress\" is \"tc\""},
	"source":   {"", aboutRest, "a kernel tree to take instead"},
	"tier":     {"", aboutRest, "only kernels of this tier: smoke, ci or all"},
	"update":   {"", aboutRest, "look for newer sources than those that are there"},
	"version":  {"", aboutRest, `version of Debian's linux-source, such as "6.12" (default the newest 7.x of sid when first fetched)`},
}

// flags maps names of flags to pointers to their values. The value at the pointer is the default.
type flags map[string]any

// each is the value of a flag that may be repeated; the values of a []string are separated by
// commas.
type each []string

// addFlags adds flags of the table to a command.
func addFlags(cmd *cobra.Command, values flags) {
	fl := cmd.Flags()
	for name, value := range values {
		info, ok := flagTable[name]
		switch p := value.(type) {
		case *string:
			fl.StringVarP(p, name, info.short, *p, info.usage)
		case *bool:
			fl.BoolVarP(p, name, info.short, *p, info.usage)
		case *int:
			fl.IntVarP(p, name, info.short, *p, info.usage)
		case *[]int:
			fl.IntSliceVar(p, name, *p, info.usage)
		case *uint64:
			fl.Uint64VarP(p, name, info.short, *p, info.usage)
		case *time.Duration:
			fl.DurationVarP(p, name, info.short, *p, info.usage)
		case *each:
			fl.StringArrayVarP((*[]string)(p), name, info.short, *p, info.usage)
		case *[]string:
			fl.StringSliceVarP(p, name, info.short, *p, info.usage)
		default:
			ok = false
		}
		if !ok {
			panic(fmt.Sprintf("bpfreplay %s --%s: not in the table of flags, or of no type that it knows", cmd.Name(), name))
		}
		if complete := completions[name]; complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete)
		}
	}
}

// completions has the shell completions of flags' values.
var completions = map[string]cobra.CompletionFunc{
	"kernel":   completeKernels,
	"arch":     cobra.FixedCompletions(arch.Names(), cobra.ShellCompDirectiveNoFileComp),
	"contract": cobra.FixedCompletions(contractNames(), cobra.ShellCompDirectiveNoFileComp),
	"keyring":  cobra.FixedCompletions(keyring.Names(), cobra.ShellCompDirectiveNoFileComp),
	"engine":   cobra.FixedCompletions(enginename.Names(), cobra.ShellCompDirectiveNoFileComp),
	"engines":  cobra.FixedCompletions(enginename.Names(), cobra.ShellCompDirectiveNoFileComp),
	"mutate":   cobra.FixedCompletions(mutate.Names(), cobra.ShellCompDirectiveNoFileComp),
}

// renamed adds the deprecated former name of a flag, which had another meaning in other commands.
func renamed(cmd *cobra.Command, former, name string) {
	f := *cmd.Flags().Lookup(name)
	f.Name, f.Shorthand = former, ""
	cmd.Flags().AddFlag(&f)
	_ = cmd.Flags().MarkDeprecated(former, "use --"+name)
}

// fewFlags is the largest number of flags that --help shows without headings.
const fewFlags = 10

// usageOfFlags returns the flags' part of a command's --help.
func usageOfFlags(cmd *cobra.Command) string {
	sets := make(map[string]*pflag.FlagSet)
	for _, h := range headings {
		sets[h] = pflag.NewFlagSet(h, pflag.ContinueOnError)
	}
	all := cmd.LocalFlags()
	count := 0
	all.VisitAll(func(f *pflag.Flag) {
		heading := aboutRest
		if info, ok := flagTable[f.Name]; ok {
			heading = info.heading
		}
		sets[heading].AddFlag(f)
		if !f.Hidden {
			count++
		}
	})
	if count <= fewFlags {
		return "Flags:\n" + strings.TrimRight(all.FlagUsages(), "\n")
	}
	var text []string
	for _, h := range slices.DeleteFunc(slices.Clone(headings), func(h string) bool { return !sets[h].HasAvailableFlags() }) {
		text = append(text, h+":\n"+sets[h].FlagUsages())
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n")
}

// groupFlags makes --help group the flags of all commands by heading.
func groupFlags(root *cobra.Command) {
	cobra.AddTemplateFunc("usageOfFlags", usageOfFlags)
	const plain = "Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}"
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), plain, "{{usageOfFlags .}}", 1))
}
