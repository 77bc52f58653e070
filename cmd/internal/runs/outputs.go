package runs

import (
	"fmt"
	"io"
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

func (f *outputFlags) add(cmd *cobra.Command) {
	cli.AddFlags(cmd, cli.Flags{"junit": &f.junit, "markdown": &f.markdown})
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
	_, err = io.WriteString(f, text)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
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
