// Package result has what a run found: of cases, of suites on a kernel, of kernels, and how that
// compares with a baseline. Package report writes it for people and programs.
package result
