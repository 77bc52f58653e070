// Package report writes the results of runs. For people it writes one line per case to the terminal
// while the run goes on, or a table of several kernels that is redrawn in place (Live), and a
// summary (Text). For programs it writes report.json and matrix.json. docs/report.schema.json
// describes their format; it is generated from the Go types, and a test checks that it is up to
// date. JUnit XML, Markdown, GitHub's annotations and self-contained HTML pages are made from the
// same result.Matrix.
//
// Names and logs come from objects and guests and are not trusted: they are escaped for each
// format.
package report
