// Package baseline compares a run of a suite with the results of an earlier run on the same kernel.
// A run with a baseline fails only on what has become worse. Begin with [Read], [Baseline.Compare]
// and [New].
package baseline
