package result

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// Checked is the result of one object on one kernel.
type Checked struct {
	Object string // as in [CaseReport.Name]
	Kernel string
	Run    *KernelRun // has the reason if there is no report
	Loads  []LoadReport
	// Lacks is the capability that the object uses and the kernel lacks, "" if there is none with a
	// probe.
	Lacks string
	// Registers is the architecture whose registers the object's programs use, "" if they use none
	// or the kernel's own: see [Registers].
	Registers string
	// Differ means that engines load the object, but with different results.
	Differ bool
}

// CheckedOf splits a matrix of a suite from [NewCheck], by object and then by kernel.
func CheckedOf(m *Matrix, s *suite.Suite) [][]Checked {
	var out [][]Checked
	for i := range s.Cases {
		name := s.Cases[i].Name
		if strings.HasSuffix(name, suite.UsesSuffix) {
			continue
		}
		registers := ""
		if o, err := object.Open(s.Path(&s.Cases[i])); err == nil {
			registers = suite.Registers(o)
		}
		var rows []Checked
		for k := range m.Kernels {
			run := &m.Kernels[k]
			row := Checked{Object: name, Kernel: run.Kernel, Run: run, Registers: suite.ForeignRegisters(registers, run.Kernel)}
			if c := caseOf(run, name); c != nil {
				row.Loads, row.Differ = c.Loads, differ(c)
			}
			if c := caseOf(run, name+suite.UsesSuffix); c != nil && len(c.Loads) > 0 && c.Loads[0].Result == wire.Unsupported {
				row.Lacks = c.Loads[0].Missing
			}
			rows = append(rows, row)
		}
		out = append(out, rows)
	}
	return out
}

func caseOf(run *KernelRun, name string) *CaseReport {
	if run.Report == nil {
		return nil
	}
	i := slices.IndexFunc(run.Report.Cases, func(c CaseReport) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &run.Report.Cases[i]
}

func differ(c *CaseReport) bool {
	for _, p := range c.Verdicts {
		for i := range p.Differences {
			if d := &p.Differences[i]; len(d.ExplainedBy) == 0 && d.Field != FieldLoad && d.Field != FieldErrno {
				return true
			}
		}
	}
	return false
}
