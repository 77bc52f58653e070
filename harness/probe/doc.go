// Package probe finds out what a kernel can do, by trying it.
//
// A version says little: distributions carry features back, configurations
// leave them out, and hardening takes them away. So every capability that a
// case may need has one experiment here, the smallest bpf(2) command or type
// look-up that shows it, and its answer is the kernel's own. That a kernel of
// some release must have a capability is a demand, which kernels.yaml makes;
// it never takes the place of the experiment.
//
// The experiments are in table.go, a row each. They are of few kinds:
//
//   - create: the kernel takes a MAP_CREATE
//   - load: it takes a PROG_LOAD, and what the program refers to is found
//   - helper: it knows a helper for a program type
//   - types, typed, addresses: its BTF or its symbol table says so
//
// Nothing that an experiment makes outlives it. Nothing is remembered either:
// the answer can change when a module is loaded, so the caller decides how long
// an answer holds.
package probe
