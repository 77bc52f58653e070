// Package skel is the runtime of Go light skeletons: the code that "bpfreplay gen --go"
// writes calls it. docs/skeletons.md shows how to use a skeleton.
//
// A skeleton embeds an artefact and knows as constants what its manifest says. Opening one
// parses nothing and asks the kernel nothing; loading it is one run of the loader program by
// package replay, the same bytes and the same code as "bpfreplay load". The package imports
// golang.org/x/sys and github.com/cilium/ebpf, nothing else outside of this module.
//
// A user calls [String] and [Bytes], and handles [StepError] and [NeedError]. All else is for
// generated code, which belongs to the version of this package that it was generated with.
//
// # Memory of data sections
//
// A data section is ordinary memory of the process between Open and Load. Load hands what has
// been written there to the kernel and maps the map's value over the same addresses, so pointers
// into a section stay valid: what they point to is then the map itself. Read-only sections
// (.rodata) cannot be written any more; an attempt is a fault. Close unmaps the memory; pointers
// into it must not be used after that.
//
// What BPF programs write changes at any time: use sync/atomic. The race detector does not see
// what BPF programs write.
package skel
