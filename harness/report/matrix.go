package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
)

// newTable returns a table without lines, in the style of this package.
func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	t.AppendHeader(header)
	return t
}

// rightFrom aligns columns n to last to the right.
func rightFrom(t table.Writer, n, last int) {
	var configs []table.ColumnConfig
	for i := n; i <= last; i++ {
		configs = append(configs, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
}

// render returns the text of a table without trailing blanks.
func render(t table.Writer) string {
	lines := strings.Split(t.Render(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// matrixTable has one row per kernel. escape escapes names.
func matrixTable(m *result.Matrix, escape func(string) string) table.Writer {
	columns := matrixColumns()
	t := newTable(columns...)
	rightFrom(t, 4, len(columns))
	for i := range m.Kernels {
		k := &m.Kernels[i]
		row := table.Row{escape(k.Kernel), "", outcome(k)}
		if k.Report != nil {
			row[1] = escape(k.Report.Kernel.Release)
			row = append(row, kernelCounts(k.Report)...)
		}
		t.AppendRow(row)
	}
	return t
}

// matrixColumns are the titles of a table of kernels. kernelCounts has the numbers of a kernel, from
// the fourth column on.
func matrixColumns() []any {
	columns := []any{"kernel", "release", "result", "cases"}
	for _, v := range verdicts {
		columns = append(columns, string(v))
	}
	return append(columns, "failed", "boot s", "total s")
}

func kernelCounts(r *result.Report) []any {
	counts := []any{len(r.Cases)}
	for _, v := range verdicts {
		counts = append(counts, r.Summary[v])
	}
	return append(counts, r.Failures, fmt.Sprintf("%.1f", r.Seconds.Boot), fmt.Sprintf("%.1f", r.Seconds.Total))
}

// outcome returns the word for a kernel's run.
func outcome(k *result.KernelRun) string {
	if k.State != result.Done {
		return string(k.State)
	}
	return passOrFail(k.Report.OK())
}

func passOrFail(ok bool) string {
	if ok {
		return "PASS"
	}
	return "FAIL"
}

// MatrixSummary writes the results on several kernels: the failures of each kernel, and a table.
func (t *Text) MatrixSummary(m *result.Matrix) {
	for i := range m.Kernels {
		t.wrong(&m.Kernels[i])
	}
	fmt.Fprintf(t.W, "\n%s\n", render(matrixTable(m, oneLine)))
	var reports []*result.Report
	for i := range m.Kernels {
		if r := m.Kernels[i].Report; r != nil {
			reports = append(reports, r)
		}
	}
	if len(reports) > 0 {
		t.lines("", agreement(reports[0].Engines, countPairs(reports...)))
	}
	fmt.Fprintln(t.W, matrixLine(m))
	for _, s := range m.Missing {
		fmt.Fprintf(t.W, "shard %s is missing\n", s)
	}
	fmt.Fprintln(t.W, passOrFail(m.OK()))
}

// matrixLine summarises a matrix.
func matrixLine(m *result.Matrix) string {
	var b strings.Builder
	cases := 0
	for i := range m.Kernels {
		if r := m.Kernels[i].Report; r != nil {
			cases += len(r.Cases)
		}
	}
	fmt.Fprintf(&b, "suite %s", oneLine(m.Suite))
	if m.Shard != nil {
		fmt.Fprintf(&b, ", shard %s", m.Shard)
	}
	fmt.Fprintf(&b, ": %d cases on %d kernels in %.1f s: %s; %d failed expectations", cases, len(m.Kernels), m.Seconds, tally(m.Summary), m.Failures)
	return b.String()
}

// wrong writes the failures on one kernel.
func (t *Text) wrong(k *result.KernelRun) {
	if k.State != result.Done {
		fmt.Fprintf(t.W, "\nkernel %s: %s: %s\n", k.Kernel, k.State, k.Reason)
	}
	r := k.Report
	if r == nil || r.OK() && len(r.Splats) == 0 && len(oddities(r)) == 0 {
		return
	}
	bad := failed(r)
	fmt.Fprintf(t.W, "\nkernel %s (%s): %d of %d cases are not as they should be\n", k.Kernel, r.Kernel.Release, len(bad), len(r.Cases))
	for _, c := range bad {
		t.Case(c)
	}
	t.baseline(r)
	t.lines("  ", complaints(r.Splats))
	t.lines("  ", oddities(r))
}

// failed returns the cases that failed or, if there is a baseline, became worse.
func failed(r *result.Report) []*result.CaseReport {
	names := r.Failed()
	var bad []*result.CaseReport
	for i := range r.Cases {
		if c := &r.Cases[i]; slices.Contains(names, c.Name) {
			bad = append(bad, c)
		}
	}
	return bad
}

// wrongWith returns the first thing that is wrong with a failed case, on one line.
func wrongWith(r *result.Report, c *result.CaseReport) string {
	if text := problem(c); text != "" || r.Baseline == nil {
		return text
	}
	for _, change := range r.Baseline.Changes {
		if change.Case == c.Name && change.Worse {
			return oneLine(cut(fmt.Sprintf("%s was %s and is %s", change.What, change.Was, change.Is), maxProblem))
		}
	}
	return ""
}

// Lines writes the progress of a matrix without a terminal: each line begins with its kernel. Cases
// go to Out, notes to Notes.
type Lines struct {
	Out, Notes io.Writer
	Verbose    bool
	width      int // of the longest name
}

// Event writes an event, if there is something to write.
func (l *Lines) Event(e run.Event) {
	l.width = max(l.width, len(e.Run.Kernel))
	prefix := fmt.Sprintf("%-*s  ", l.width, e.Run.Kernel)
	switch {
	case e.Case != nil:
		t := Text{W: &prefixed{l.Out, prefix}, Verbose: l.Verbose}
		t.Case(e.Case)
	case e.Note != "":
		fmt.Fprintf(l.Notes, "%s%s\n", prefix, e.Note)
	case e.Run.State == result.Done:
		r := e.Run.Report
		fmt.Fprintf(l.Out, "%s%s: %d cases in %.1f s (boot %.1f s)\n", prefix, passOrFail(r.OK()), len(r.Cases), r.Seconds.Total, r.Seconds.Boot)
	case e.Run.Reason != "":
		fmt.Fprintf(l.Out, "%s%s: %s\n", prefix, e.Run.State, e.Run.Reason)
	}
}

// prefixed writes a prefix before each line. Each Write must have whole lines.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		out.WriteString(p.prefix + line)
	}
	if _, err := io.WriteString(p.w, out.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}
