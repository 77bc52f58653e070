package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Check writes where an object loads: a table of kernels and engines, and below it each reason for
// a failure once. about describes a capability and the first release that has it.
func (t *Text) Check(object string, rows []result.Checked, engines []string, about func(capability string) string) {
	r := reasons{about: about}
	header := []any{"kernel", "release"}
	for _, e := range engines {
		header = append(header, e)
	}
	w := newTable(header...)
	for i := range rows {
		c := &rows[i]
		row := table.Row{oneLine(c.Kernel)}
		if c.Run.Report == nil {
			n := r.add(string(c.Run.State)+": "+c.Run.Reason, nil, "", c.Kernel, "")
			w.AppendRow(append(row, fmt.Sprintf("%s [%d]", c.Run.State, n)))
			continue
		}
		row = append(row, oneLine(c.Run.Report.Kernel.Release))
		for k := range c.Loads {
			row = append(row, r.cell(c, &c.Loads[k]))
		}
		w.AppendRow(row)
	}
	fmt.Fprintf(t.W, "\n%s\n%s\n", object, render(w))
	r.write(t)
	t.registers(rows)
	var differ []string
	for i := range rows {
		if rows[i].Differ {
			differ = append(differ, rows[i].Kernel)
		}
	}
	if len(differ) > 0 {
		fmt.Fprintf(t.W, "what engines load is not alike on %s; vmtest shows how, with the same engines\n", strings.Join(differ, ", "))
	}
}

// registers lists the kernels for which the object was compiled with another architecture's
// registers.
func (t *Text) registers(rows []result.Checked) {
	var kernels []string
	var of string
	for i := range rows {
		if rows[i].Registers != "" {
			of = rows[i].Registers
			kernels = append(kernels, rows[i].Kernel)
		}
	}
	if a, ok := arch.Find(of); ok {
		fmt.Fprintf(t.W, "its programs read the registers of %s (struct pt_regs), which %s has not: it does not load there, or reads something else; compile it for each architecture, this one was with -D__TARGET_ARCH_%s\n",
			a.Name, strings.Join(kernels, ", "), a.Target)
	}
}

// reasons collects the reasons for failed loads, each once.
type reasons struct {
	about func(string) string
	list  []*whyNot
}

type whyNot struct {
	text    string
	log     []string // end of the verifier's log
	lacks   string   // missing capability
	kernels []string
	engines []string
}

// cell returns the table cell for one load.
func (r *reasons) cell(c *result.Checked, l *result.LoadReport) string {
	if l.Loaded() {
		return "loads"
	}
	if !l.Applies() {
		return fmt.Sprintf("not there [%d]", r.add(l.Detail, nil, l.Missing, c.Kernel, l.Engine))
	}
	word := "refused"
	if l.Broken() {
		word = "broken"
	}
	if l.Errno != "" {
		word += " " + l.Errno
	}
	return fmt.Sprintf("%s [%d]", word, r.add(l.Detail, lastWords(l.Log), c.Lacks, c.Kernel, l.Engine))
}

// omitted matches what cilium/ebpf writes in place of the rest of a log.
var omitted = regexp.MustCompile(` \(\d+ line\(s\) omitted\)$`)

// addresses matches addresses in the verifier's log, which differ between kernels.
var addresses = regexp.MustCompile(`0x[0-9a-f]{8,}`)

// add records a reason and returns its number. Two failures have the same reason if the verifier's
// last line is the same, whatever the engine and the kernel.
func (r *reasons) add(text string, log []string, lacks, kernel, engine string) int {
	text = omitted.ReplaceAllString(text, "")
	i := slices.IndexFunc(r.list, func(w *whyNot) bool {
		if w.lacks != lacks {
			return false
		}
		if len(log) > 0 && slices.Equal(w.log, log) {
			return true
		}
		if len(log) > 0 && len(w.log) > 0 {
			return w.log[len(w.log)-1] == log[len(log)-1] && programOf(w.text) == programOf(text)
		}
		return w.text == text
	})
	if i < 0 {
		i = len(r.list)
		r.list = append(r.list, &whyNot{text: text, log: log, lacks: lacks})
	}
	w := r.list[i]
	if !slices.Contains(w.kernels, kernel) {
		w.kernels = append(w.kernels, kernel)
	}
	if engine != "" && !slices.Contains(w.engines, engine) {
		w.engines = append(w.engines, engine)
	}
	return i + 1
}

// programOf returns the subject of an error, "program NAME".
func programOf(text string) string {
	before, _, _ := strings.Cut(text, ":")
	return before
}

// maxWords is how many lines of a verifier's log are shown.
const maxWords = 12

// lastWords returns the last meaningful lines of a verifier's log.
func lastWords(log string) []string {
	var lines []string
	for line := range strings.Lines(addresses.ReplaceAllString(log, "0x…")) {
		line = strings.TrimRight(line, " \t\n")
		if line != "" && !bpfsys.Statistics(line) {
			lines = append(lines, line)
		}
	}
	return lines[max(len(lines)-maxWords, 0):]
}

// lastWord returns the last meaningful line of a verifier's log, "" if there is none.
func lastWord(log string) string {
	lines := lastWords(log)
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

func (r *reasons) write(t *Text) {
	for i, w := range r.list {
		where := strings.Join(w.kernels, ", ")
		if len(w.engines) > 0 {
			where = strings.Join(w.engines, ", ") + " on " + where
		}
		fmt.Fprintf(t.W, "[%d] %s: %s\n", i+1, where, w.text)
		if w.lacks != "" {
			fmt.Fprintf(t.W, "      the kernel lacks %s: %s\n", w.lacks, r.about(w.lacks))
		}
		t.lines("      | ", w.log)
	}
}
