// Package trace plans a load: it turns an opened object into the ordered list
// of bpf(2) commands that a direct load would issue, with symbols where a
// kernel will put numbers.
//
// A Trace is a value. It can be printed (Trace.WriteTo, the command "bpfreplay
// explain"), compared, turned into a loader program (package emit) or issued
// from user space (package issue). Everything that is hard about loading BPF
// is decided here, once: which subprograms go with which program and in what
// order, which instruction refers to what, which record of func_info belongs
// to whom. The two back ends only put fds and addresses in.
//
// Three kinds of symbols stand for what only a target knows:
//
//   - an FD is a file descriptor that a command of the trace makes: a map, a
//     program, the object's BTF. FDs are numbered: first the maps, then the
//     programs, in the order of the object, then the temporary ones that are closed
//     at the end. The loader program keeps them in an array in this order.
//   - a Symbol is something in the kernel that is looked up by name: a kfunc,
//     a ksym, an attach target.
//   - a Setting is a value that the target's user space decides before the
//     commands are issued: the number of CPUs, the values of kconfig variables.
//
// Plan is deterministic: the same object gives the same trace, on every
// machine. It neither reads the host's state nor asks what the kernel can do.
package trace
