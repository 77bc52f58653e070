// Package cli has what all commands have in common: the meanings of flags and their place in
// --help, exit statuses, and forms of output.
package cli

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Defaults of flags.
const (
	DefaultKernel = "6.12"
	DefaultTier   = "ci" // of commands that run on several kernels
	DefaultOut    = "out"
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

// Headings are the headings of --help, in order.
var Headings = []string{aboutCases, aboutGuest, aboutProgram, aboutRun, aboutReport, aboutSkeleton, aboutSigned, aboutRest}

// Flag is the meaning of a flag, which is the same in every command.
type Flag struct {
	Short, Heading, Usage string
}

// Table has the flags of all commands.
var Table = map[string]Flag{
	"config": {"", aboutRest, "kernels.yaml to use; the core suite and the baselines are in its directory (default that of the nearest tree, else the built-in one)"},

	"bpftool":      {"", aboutCases, "bpftool for the engines libbpf and libbpf-light, an ELF file, and after commas the programs that it runs (default this machine's)"},
	"case":         {"c", aboutCases, "run only cases whose names match this pattern, or with a leading ! do not match it (may be repeated)"},
	"effects":      {"", aboutCases, "also run and attach programs, as vmtest does; only in a guest"},
	"engine":       {"e", aboutCases, "engine that loads: " + strings.Join(enginename.Names(), ", ")},
	"expect":       {"", aboutCases, "for objects as arguments: ok if each must load, agreement if it is enough that all engines do the same"},
	"engines":      {"e", aboutCases, "engines that load, in this order: " + strings.Join(enginename.Names(), ", ") + "; the default includes libbpf if bpftool is installed"},
	"fault":        {"", aboutCases, "CASE=FAULT: inject a fault into the guest in this case, to test how the run handles it; with the suffix :once, not when the case is run once more; help lists the faults (may be repeated)"},
	"fresh":        {"", aboutCases, "time each repetition in a new process, as for a program that loads one object"},
	"list":         {"", aboutCases, "list the mutations of loads, and boot no guest"},
	"mutate":       {"", aboutCases, "apply this mutation to loader programs, to test that it is detected (see bpfreplay mutate --list)"},
	"number":       {"n", aboutCases, "number of objects"},
	"objects":      {"", aboutCases, "directory to write all objects to"},
	"only":         {"", aboutCases, "load only the object with this index"},
	"only-failed":  {"", aboutCases, "run only cases that failed in the last report, or were worse than the baseline"},
	"repeat":       {"", aboutCases, "number of times that each engine loads each object; the report has the shortest time"},
	"require":      {"", aboutCases, "only these engines must load the objects"},
	"seed":         {"", aboutCases, "seed of the random objects (default a new one, which is printed)"},
	"split":        {"", aboutCases, "load each program of an object on its own (not with libbpf's engines)"},
	"states":       {"", aboutCases, "also change the fields of states when mutations are named"},
	"load-only":    {"", aboutCases, "run programs only as the suite says, and do not attach any"},
	"suite":        {"", aboutCases, "suite of the cases"},
	"test-modules": {"", aboutCases, "for suite kernel: load bpf_testmod and the related modules in guests, and build them for the kernel first if needed"},

	"accel":        {"", aboutGuest, "auto, kvm or tcg; auto is kvm if a probe shows that it works"},
	"arch":         {"", aboutGuest, "architecture of kernels that are named without one: " + strings.Join(arch.Names(), ", ") + "; vmtest, matrix, check, exec and doctor take several (default this machine's)"},
	"append":       {"", aboutGuest, "a kernel parameter to add (may be repeated)"},
	"boot-timeout": {"", aboutGuest, "time limit for a boot"},
	"cold":         {"", aboutGuest, "boot every guest; by default guests are copies of one that was booted once and saved"},
	"cpus":         {"", aboutGuest, fmt.Sprintf("processors of a guest (default 1; under KVM one for each of this machine's, %d at most)", accel.MostCPUs)},
	"host-port":    {"", aboutGuest, "let the guest reach this TCP port of this machine's loopback, as host:PORT; it reaches nothing else (may be repeated)"},
	"gdb":          {"", aboutGuest, "stop the guest before its first instruction, wait for gdb, and print the command that attaches it; there are no time limits then"},
	"kernel":       {"k", aboutGuest, "a name in kernels.yaml, with a prefix for another architecture (arm64/6.12), or the path of an image or of a built kernel tree; vmtest, matrix, check, exec and doctor take several, and tiers"},
	"memory":       {"", aboutGuest, "memory of a guest, in MiB; of exec and shell 0 for 1 GiB plus the size of the files"},
	"module":       {"", aboutGuest, "a kernel module to load first, with its dependencies (may be repeated)"},
	"qemu":         {"", aboutGuest, "QEMU to run (default the one in PATH for the architecture)"},
	"qemu-arg":     {"", aboutGuest, "an additional argument for QEMU, one word; guests are then booted instead of copied from a saved one (may be repeated)"},
	"rwdir":        {"", aboutGuest, "a directory of this machine that the guest can change, at the same path; needs virtiofsd (may be repeated)"},
	"rootfs":       {"", aboutGuest, "host: use this machine's root, read-only below a layer for changes, instead of copies of files"},

	"bare":    {"", aboutProgram, "do not copy the files of a Go test's package"},
	"env":     {"", aboutProgram, "an environment variable NAME=VALUE, or NAME to pass on its current value (may be repeated)"},
	"get":     {"g", aboutProgram, "a file or a directory of the guest to copy back to the same path (may be repeated)"},
	"timeout": {"", aboutProgram, "time limit for the program (default 10m; for Go tests their -timeout)"},
	"console": {"", aboutProgram, "write the guest's console to this file while it runs; - is standard error"},
	"splats":  {"", aboutProgram, "what to do if a program succeeds but the guest's kernel complained while it ran: fail (exit status 2) or note (print a line)"},
	"tty":     {"t", aboutProgram, "give the program a terminal"},
	"with":    {"w", aboutProgram, "a file or a directory to copy into the guest; programs include their libraries (may be repeated)"},

	"engine-timeout": {"", aboutRun, "time limit for each engine with a case"},
	"fail-fast":      {"", aboutRun, "with several kernels, stop the others when one fails"},
	"isolate":        {"", aboutRun, "run each case in a guest of its own"},
	"jobs":           {"j", aboutRun, "number of guests, or compilers, that run at the same time; 0 for one per processor, fewer for few cases"},
	"memory-total":   {"", aboutRun, "total memory for the guests of several kernels, in MiB; 0 for three quarters of the free memory"},
	"no-retry":       {"", aboutRun, "do not run failing cases once more, alone in a new guest"},
	"resume":         {"", aboutRun, "continue the last run, which was interrupted: run only the remaining cases"},
	"shard":          {"", aboutRun, "run part I of N of all kernels and cases, I/N, to divide the work among machines; see bpfreplay merge"},

	"baselines":       {"", aboutReport, `directory with a baseline KERNEL.txt for each kernel, or "none" (default for suites kernel and wild: selftests/baselines/SUITE)`},
	"json":            {"", aboutReport, "print JSON instead of text"},
	"junit":           {"", aboutReport, "also write a report in JUnit's XML to this file"},
	"keep":            {"", aboutReport, "cases whose artifacts to keep in OUT/KERNEL/failed: failing, or all whose verdict is not equal"},
	"markdown":        {"", aboutReport, "also write a summary in Markdown to this file"},
	"out":             {"o", aboutReport, "output directory; for merge and sign the output file, for gen either"},
	"update-baseline": {"", aboutReport, "write a new baseline from this run instead of failing on changes"},
	"verbose":         {"v", aboutReport, "also show explained differences"},
	"write-states":    {"", aboutReport, "directory to write the states to, one file per engine"},

	"artefact":    {"", aboutSkeleton, "embed this file in the skeleton; gen wrote it for the object, and sign signed it"},
	"c":           {"", aboutSkeleton, "write a light skeleton in C: one header that contains the artefact"},
	"cc":          {"", aboutSkeleton, "compile the argument, a C source, with this clang; its flags follow --"},
	"go":          {"", aboutSkeleton, "write a light skeleton in Go, and the artefact that it embeds"},
	"ident":       {"", aboutSkeleton, "name of the skeleton's type or struct (default the object's name)"},
	"output-stem": {"", aboutSkeleton, "start of the names of the files (default the skeleton's name in lower case)"},
	"pkg":         {"", aboutSkeleton, "with --go: name of the package; go generate sets GOPACKAGE"},
	"target":      {"", aboutSkeleton, "target of the object: bpfel, native, or a GOARCH"},
	"type":        {"", aboutSkeleton, "with --go: also declare this type of the object (may be repeated)"},

	"cert":      {"", aboutSigned, "a certificate (X.509), in PEM or DER; for load, check, exec and shell one to trust (may be repeated)"},
	"attach":    {"", aboutSigned, "also attach programs in the loader program if their sections name the target: tp_btf, fentry, fexit, fmod_ret, lsm, iter"},
	"contract":  {"", aboutSigned, "contracts to sign for, of " + strings.Join(contract.Names(), ", ") + " (default all)"},
	"detached":  {"", aboutSigned, "print the digests for an external signer, and write nothing"},
	"enforce":   {"", aboutSigned, "refuse programs instead of only logging them"},
	"for":       {"", aboutSigned, "how long to enforce without a confirmation"},
	"key":       {"", aboutSigned, "private key, in PEM or DER"},
	"signed":    {"", aboutSigned, "also load signed (engine signed): objects with a key made for the purpose, files that sign wrote with --cert"},
	"signature": {"", aboutSigned, "CONTRACT=FILE: a signature from an external signer (may be repeated)"},

	"again":    {"", aboutRest, "build again even if the result is known"},
	"all":      {"", aboutRest, "remove everything, including what is needed"},
	"clang":    {"", aboutRest, "the compiler; llvm-strip must be in the same directory"},
	"diff":     {"", aboutRest, "compare the traces of two objects"},
	"keyring":  {"", aboutSigned, "keyring with the trusted keys: a serial, or " + strings.Join(keyring.Names(), ", ") + "; policy takes several, separated by commas"},
	"offline":  {"", aboutRest, "do not use the network"},
	"pin":      {"", aboutRest, "directory on a BPF file system for the pins; load creates it"},
	"replace":  {"", aboutRest, "NAME=PROGRAM: the target program of the freplace program NAME; for load an id or a pin, in guests OBJECT[:PROGRAM] (may be repeated)"},
	"sections": {"", aboutRest, "rules for section names: libbpf, or cilium, for which \"tc_ingress\" is \"tc\""},
	"source":   {"", aboutRest, "kernel tree to use instead"},
	"tier":     {"", aboutRest, "only kernels of this tier: smoke, ci or all"},
	"update":   {"", aboutRest, "look for newer sources than the cached ones"},
	"version":  {"", aboutRest, `version of Debian's linux-source, such as "6.12" (default the newest 7.x of sid when first fetched)`},
}
