// Package probe finds out what a kernel can do, by trying it.
//
// A version says little: distributions backport features, configurations omit them, and hardening
// removes them. So for every capability that a case may need there is one experiment here: the
// smallest bpf(2) command or type look-up that shows it. The result is the kernel's own.
// kernels.yaml can require that the kernels of some release have a capability, but that does not
// replace the experiment.
//
// The experiments are in table.go, one per row. They are of few kinds:
//
// - create: the kernel accepts a MAP_CREATE
// - load: it accepts a PROG_LOAD, and has the types and functions that the program refers to
// - helper: it has a helper for a program type
// - types, typed, addresses: its BTF or its symbol table shows it
//
// Experiments leave nothing behind. Results are not cached, because loading a module can change
// them; the caller decides how long a result holds.
package probe
