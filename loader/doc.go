// Package loader turns BPF objects into loader programs and runs them.
//
// To load an object, libbpf issues a long series of bpf(2) commands. A loader program issues
// the same series from inside the kernel. It is one BPF program of type SYSCALL (Linux 5.14)
// with one array map, the blob, which holds everything that the commands point to. Running
// it once replays the load, without an ELF parser, without libbpf, and without the kernel's
// types in user space.
//
//	obj, err := loader.Open("filter.bpf.o")      // ELF, no kernel needed
//	prog, err := loader.Generate(obj, nil)       // the same bytes on every machine
//	err = prog.WriteFile("filter.bpfreplay")     // one file, or:
//	coll, err := prog.Load(nil)                  // one run on this kernel
//	defer coll.Close()
//	coll.Programs["handle_exec"]                 // *ebpf.Program
//
// [ReadFile], [ReadFS] and [Parse] read the file back: from a path, from a file system such
// as go:embed's, from bytes.
//
// # One loader program
//
// Generate makes the instructions and the blob once. WriteFile writes these bytes, and Load
// runs these bytes, on every kernel. docs/loader-program.md explains where each decision that
// depends on the kernel is made. [Program.Needs] lists the capabilities that not every kernel
// has. On a kernel that lacks one, Load returns a [NeedError] that names it, before it creates
// anything.
//
// # Ownership
//
// A [Collection] owns its maps, programs and links. Close closes all of them, except those
// that were detached. Maps and programs in [LoadOptions] stay the caller's. A failed load
// leaves nothing open.
//
// # Errors
//
// If a step of a load fails, the error is a [*StepError]. It names the map or program and the
// command, wraps the errno, and carries the verifier's log:
//
//	program handle_exec: PROG_LOAD: EACCES: R1 invalid mem access 'scalar'
//
// %+v prints the log below that line.
package loader
