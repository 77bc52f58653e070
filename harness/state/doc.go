// Package state captures what the kernel holds after a load. Package compare compares two states.
// Begin reading at State (state.go), then Capture.
//
// A [State] is everything that user space can observe about the maps, programs and types that a
// load left behind. It is read raw, field by field (package bpfsys), because a library that
// interprets the data hides the parts that it does not know. It is normalised while it is read:
// values that differ between any two loads (ids, addresses, file descriptors) are replaced by what
// they stand for. A reference to map 4711 becomes a reference to the map "counts", a call of
// address base+0x4a10 the kfunc "bpf_task_acquire [vmlinux]", instruction 212 the fifth instruction
// of function "update". Instructions, func_info and line_info are kept per function, so that
// loaders which append subprograms in a different order give comparable listings; the order is a
// field of its own.
//
// [Capture] runs in the guest, once per engine and case and often under emulation, so it does
// little: instructions are transferred as bytes with a list of their references. A small BPF
// program looks up the names of kernel addresses one by one, because reading /proc/kallsyms takes
// seconds there.
//
// No system call returns some of the attributes of a load: a program's expected attach type,
// whether it may sleep, the NUMA node of a map. A second small program reads these from kernel
// memory.
//
// A field that this kernel does not have is absent. Two absent values are equal; an absent and a
// present one never are.
package state
