package runs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

// outputFlags select further formats of a report.
type outputFlags struct {
	junit    string
	markdown string
}

// reset removes the output of a former run, which must not be taken for this one's.
func (f *outputFlags) reset() error {
	for _, path := range []string{f.junit, f.markdown} {
		if path == "" {
			continue
		}
		if _, err := cli.NewReport(filepath.Split(path)); err != nil {
			return err
		}
	}
	return nil
}

// write writes the selected formats. In a step of GitHub Actions the environment also selects the
// step's summary and annotations, except for shards, for which merge writes them.
func (f *outputFlags) write(cmd *cobra.Command, m *result.Matrix, suite string) error {
	file, err := inputs.FindSuite(cmd, suite)
	if err != nil {
		return err
	}
	source := sourceOf(file)
	if f.junit != "" {
		if err := report.WriteJUnit(f.junit, m, source); err != nil {
			return err
		}
	}
	if f.markdown != "" {
		if err := report.WriteMarkdown(f.markdown, m); err != nil {
			return err
		}
	}
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" && m.Shard == nil {
		if err := appendTo(path, report.Markdown(m)); err != nil {
			return fmt.Errorf("GITHUB_STEP_SUMMARY: %w", err)
		}
		report.Annotations(cmd.ErrOrStderr(), m, source)
	}
	return nil
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return cmp.Or(err, f.Close())
}

// sourceOf returns a function that finds the source NAME.bpf.c beside a case's object, as in the
// core suite. The path is relative to the working directory, as GitHub expects. For a report from
// elsewhere there may be no source.
func sourceOf(suite string) func(*result.CaseReport) string {
	return func(c *result.CaseReport) string {
		path := c.Object
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(suite), "bpf", path)
		}
		base, ok := strings.CutSuffix(path, ".o")
		if !ok {
			return ""
		}
		path = base + ".c"
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		if here, err := os.Getwd(); err == nil && filepath.IsAbs(path) {
			if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
				path = rel
			}
		}
		return path
	}
}

// pageName is the name of the HTML page beside a report.
const pageName = "report.html"

// newReports returns the paths of a report and of its page; see [cli.NewReport].
func newReports(dir, name string) (path, page string, err error) {
	if path, err = cli.NewReport(dir, name); err != nil {
		return "", "", err
	}
	page, err = cli.NewReport(dir, pageName)
	return path, page, err
}

// readBefore returns the report of the previous run in a directory, nil if there is none.
func readBefore(dir string) *result.Report {
	r, err := report.ReadJSON(filepath.Join(dir, "report.json"))
	if err != nil {
		return nil // the report is only used for hints
	}
	return r
}

// deliver writes a report to path, and prints it in full or as a summary. pages are other forms of
// it that have been written already.
func deliver(cmd *cobra.Command, path string, r any, asJSON bool, sum func(), pages ...string) error {
	if err := report.WriteJSON(path, r); err != nil {
		return err
	}
	if asJSON {
		return cli.PrintJSON(cmd.OutOrStdout(), r)
	}
	sum()
	fmt.Fprintln(cmd.OutOrStdout(), "report:", path)
	for _, page := range pages {
		fmt.Fprintln(cmd.OutOrStdout(), "page:  ", page)
	}
	return nil
}
