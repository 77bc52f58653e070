// Package loader turns BPF objects into loader programs and runs them.
//
// When libbpf loads an object it issues a long series of bpf(2) commands. A
// loader program is that series as one BPF program of type SYSCALL (Linux
// 5.14) with one array map, the blob, that holds everything the commands point
// to. Running it once replays the load from inside the kernel: whoever does so
// needs neither an ELF parser nor libbpf, and what they run can be signed.
//
//	obj, err := loader.Open("filter.bpf.o")      // ELF, no kernel needed
//	prog, err := loader.Generate(obj, nil)       // instructions and blob, the same on every machine
//	coll, err := prog.Load(nil)                  // one run of the loader program on this kernel
//	defer coll.Close()
//	coll.Programs["handle_exec"]                 // *ebpf.Program
//
// # How it fits together
//
// Package object reads the ELF file. Package trace plans the load: an ordered
// list of commands with symbols for fds and addresses. Package emit turns the
// trace into a loader program; package issue issues the same trace from user
// space, which is what a loader program is compared with. Package target
// answers what a trace must leave to the kernel that it meets.
//
// Load runs a loader program that only knows whether all went well, as that is
// verified in two thirds of the time. If something has not it runs another one,
// which says what (Options.Steps), and once more for the verifier's log.
//
// # Ownership
//
// A Collection owns its maps and programs: Close closes all. After a failed
// load nothing is open, and the error is a *trace.StepError that names the
// step, the map or program, and has the verifier's log.
//
// # Compatibility
//
// The context of a loader program is that of libbpf's skel_internal.h (0.8 and
// later), so C code with libbpf's runtime can run ours, and Load can run those
// that bpftool generates.
package loader
