// Package state captures what the kernel holds after a load. Package compare compares two of them.
//
// A [State] is the whole of what user space can observe about the maps,
// programs and types that a load left behind. It is read raw, field by field
// (package bpfsys), because a library that understands what it reads hides
// what it does not. It is normalised while it is read: what differs between
// any two loads (ids, addresses, file descriptors) is replaced by what it
// stands for. The reference to map 4711 becomes the reference to the map
// "counts", a call of address base+0x4a10 the kfunc "bpf_task_acquire
// [vmlinux]", instruction 212 the fifth instruction of function "update".
// Instructions, func_info and line_info are kept per function under the
// function's name, so that two loaders which append subprograms in a different
// order still give comparable listings; the order itself is a field of its own.
//
// [Capture] runs in the guest, once per engine and case and often under
// emulation, so it does little: instructions travel as bytes with a list of
// what they refer to. Names of kernel
// addresses come from a small BPF program, one by one, as /proc/kallsyms takes
// seconds to read there.
//
// Some of what a load says, no system call tells back: the attach type that a
// program expects, whether it sleeps, the NUMA node of a map. A second small
// program reads that from kernel memory.
//
// A field that this kernel does not have yet is absent. Two absent values are
// equal, an absent and a present one never are.
package state
