package report

import (
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// matrixData is the template data of several kernels.
type matrixData struct {
	Matrix                      *result.Matrix
	Title, Result, Sum, Command string

	Links   []link
	Columns []any
	Kernels []kernelRow
}

type kernelRow struct {
	Name, Release, Result, Why, Link string

	Span   int
	Counts []string
	Bad    []*casePage
	Left   int
	Odd    []string
}

// maxBad is how many cases of one kernel the page of the matrix lists.
const maxBad = 100

func matrixPage(m *result.Matrix, link func(*result.KernelRun) string) *matrixData {
	p := &matrixData{
		Matrix: m, Title: fmt.Sprintf("%s: %s", passOrFail(m.OK()), oneLine(m.Suite)), Result: passOrFail(m.OK()), Sum: matrixLine(m),
		Columns: withWorse(matrixColumns(), "worse than the baseline"), Links: linksOf("", "matrix.json"),
	}
	for i := range m.Kernels {
		if r := m.Kernels[i].Report; r != nil {
			p.Command = r.Command
		}
		p.Kernels = append(p.Kernels, newKernelRow(&m.Kernels[i], len(p.Columns)-3, link))
	}
	return p
}

// withWorse inserts the column about the baseline in front of the times.
func withWorse(columns []any, v any) []any { return slices.Insert(columns, len(columns)-2, v) }

func newKernelRow(k *result.KernelRun, span int, link func(*result.KernelRun) string) kernelRow {
	row := kernelRow{Name: k.Kernel, Result: outcome(k), Why: k.Reason, Span: span}
	r := k.Report
	if r == nil {
		return row
	}
	row.Release, row.Link = r.Kernel.Release, link(k)
	row.Odd = append(complaints(r.Splats), oddities(r)...)
	worse := any("")
	if r.Baseline != nil {
		worse = r.Baseline.Worse()
	}
	for _, v := range withWorse(kernelCounts(r), worse) {
		row.Counts = append(row.Counts, fmt.Sprint(v))
	}
	for _, c := range newPage(r, "").Wrong {
		if r.Baseline != nil && c.Tag != "worse" {
			continue
		}
		if len(row.Bad) == maxBad {
			row.Left++
			continue
		}
		row.Bad = append(row.Bad, c)
	}
	return row
}
