// Package inputs finds and reads what commands work on: the source tree, kernels by name, suites,
// objects, and values of flags that several commands take.
package inputs
