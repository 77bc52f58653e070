// Package engine has the ways to get an object into the kernel behind one
// small interface, so that what each of them leaves there can be compared:
//
//   - direct: cilium/ebpf reads the ELF file and loads it, the independent judge;
//   - trace: our trace, issued from user space;
//   - replay: our loader program, run once.
//
// An engine says what it needs of a kernel beyond what the object needs. It
// returns fds: how they are read is for package state.
package engine
