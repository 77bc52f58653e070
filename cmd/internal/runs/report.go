package runs

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

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
