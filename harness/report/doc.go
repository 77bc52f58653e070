// Package report shows what a run of the harness found: a line a case on the
// terminal while it runs, a summary, and report.json.
package report
