// Package result defines the results of runs: of cases (CaseReport), of a suite on a kernel
// (Report) and on several kernels (Matrix), and the comparison with a baseline. Package report
// writes them for people and programs.
package result
