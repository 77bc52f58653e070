// Package target answers the questions about the running kernel and machine that a trace leaves
// open: the types and addresses of kernel symbols, the number of CPUs, the page size, the kernel's
// configuration. Begin with [Target.Prepare], which a load calls before it issues anything.
//
// In loader only this package reads /proc and /sys. It finds answers on first use and keeps them. A
// Target serves any number of loads, from any number of goroutines.
package target
