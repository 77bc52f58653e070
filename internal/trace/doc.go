// Package trace plans a load: it turns an opened object into the ordered list of bpf(2) commands
// that a direct load would issue, with symbols in place of the numbers that a kernel returns. Begin
// with [Plan], [Trace] and [Command].
//
// A Trace is a value. It can be printed (Trace.WriteTo, the command "bpfreplay explain"), compared,
// turned into a loader program (package emit) or issued from user space (package issue). Everything
// hard about loading BPF is decided here, once: which subprograms belong to which program and in
// what order, what each instruction refers to, which func_info records a program gets. The two back
// ends only fill in fds and addresses.
//
// Three kinds of symbols stand for what only a target knows:
//
//   - an FD is a file descriptor that a command of the trace creates: a map, a program, the
//     object's BTF. FDs are numbered: first the maps, then the programs, in the order of the
//     object, then the temporary ones that are closed at the end. The loader program keeps them in
//     an array in this order.
//   - a Symbol is something in the kernel that is looked up by name: a kfunc, a ksym, an attach
//     target.
//   - a Setting is a value that the target's user space determines before the commands are issued:
//     the number of CPUs, the values of kconfig variables.
//
// Plan is deterministic. It does not read the host's state or probe the kernel.
package trace
