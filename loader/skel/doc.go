// Package skel is the runtime of Go light skeletons. "bpfreplay gen --go" writes code that calls
// it. docs/skeletons.md shows how to use a skeleton.
//
// A skeleton embeds an artefact, and holds the artefact's manifest as Go constants. Open parses
// nothing and makes no bpf(2) call. Load runs the loader program once, with the same code and the
// same bytes as "bpfreplay load". Outside of this module the package imports only golang.org/x/sys
// and github.com/cilium/ebpf.
//
// Users of a skeleton call [String] and [Bytes], and handle [StepError] and [NeedError]. Everything
// else is for generated code, which needs the version of this package that it was generated with.
//
// # Memory of data sections
//
// Between Open and Load a data section is ordinary memory of the process. Load passes its content
// to the kernel and then maps the map's value over the same addresses. Pointers into a section stay
// valid, and point into the map from then on. Read-only sections (.rodata) cannot be written after
// Load: a write faults. Close unmaps the memory; do not use pointers into it after that.
//
// BPF programs may write to a section at any time. Use sync/atomic to access what they write. The
// race detector does not see their writes.
package skel
