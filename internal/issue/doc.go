// Package issue issues a trace from user space: the same commands, in the same
// order and with the same attributes as a loader program, by bpf(2).
//
// It is what a loader program is compared with. Where the two leave different
// things in the kernel, the difference is in how commands were issued, not in
// what was planned.
package issue
