// Package issue issues a trace from user space through bpf(2): the same commands, in the same order
// and with the same attributes as a loader program.
//
// It is the reference that loader programs are compared with. If the two leave different things in
// the kernel, the cause is how commands were issued, not what was planned.
package issue
