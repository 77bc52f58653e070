// Package report shows what a run of the harness found: a line a case on the
// terminal while it runs, or a table of several kernels that is drawn in place,
// and a summary. Programs read report.json and matrix.json, the shape of which is
// in docs/report.schema.json: it is made from the Go types, and a test sees to
// it that they agree. JUnit's XML, Markdown and GitHub's annotations are made from
// the same result.Matrix, as is a page for each report that needs no other file.
//
// Names and logs come from objects and guests, and may be anything: they are
// escaped for the reader.
package report
