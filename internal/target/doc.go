// Package target answers what a trace leaves open: what the names of kernel
// symbols stand for on the running kernel, how many CPUs and how large a page
// it has, how it was configured.
//
// It is the one place in loader that reads /proc and /sys. All answers are
// found on first use and kept: a Target serves any number of loads, from any
// number of goroutines.
package target
