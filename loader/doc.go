// Package loader turns BPF objects into loader programs and runs them.
//
// When libbpf loads an object it issues a long series of bpf(2) commands. A
// loader program is that series as one BPF program of type SYSCALL (Linux
// 5.14) with one array map, the blob, that holds everything the commands point
// to. Running it once replays the load from inside the kernel, without an ELF
// parser, without libbpf, and without the kernel's types in user space.
//
//	obj, err := loader.Open("filter.bpf.o")      // ELF, no kernel needed
//	prog, err := loader.Generate(obj, nil)       // the same bytes on every machine
//	err = prog.WriteFile("filter.bpfreplay")     // one file, or:
//	coll, err := prog.Load(nil)                  // one run on this kernel
//	defer coll.Close()
//	coll.Programs["handle_exec"]                 // *ebpf.Program
//
// [ReadFile], [ReadFS] and [Parse] read the file again: from a path, from a file
// system such as one of go:embed, from bytes.
//
// # One loader program
//
// The instructions and the blob that Generate makes are what WriteFile writes and what
// Load runs, on every kernel. docs/loader-program.md explains where each decision that
// depends on the kernel is made. [Program.Needs] lists what not every kernel has. On a
// kernel that lacks one of these, Load fails with its name ([NeedError]) before it creates
// anything.
//
// # Ownership
//
// A [Collection] owns its maps and programs: Close closes all but those that were
// detached. Maps and programs in [LoadOptions] stay the caller's. After a failed load
// nothing is open.
//
// # Errors
//
// A step of a load that fails gives a [*StepError], which names the map or program and
// the command, wraps the errno, and has the verifier's log:
//
//	program handle_exec: PROG_LOAD: EACCES: R1 invalid mem access 'scalar'
//
// %+v prints the log below that line.
package loader
