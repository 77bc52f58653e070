package report

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// WriteMarkdown writes a matrix as Markdown to a file, whole or not at all.
func WriteMarkdown(path string, m *result.Matrix) error { return write(path, []byte(Markdown(m))) }

// GitHub discards a step's summary of more than 1 MiB; see "Workflow commands for GitHub Actions",
// Adding a job summary.
const (
	maxMarkdown = 900 << 10
	maxDetails  = 16 << 10 // of one case
)

// Markdown returns a matrix in GitHub's Markdown: a table, followed by the failures.
func Markdown(m *result.Matrix) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### bpfreplay: %s\n\n%s\n\n%s\n", passOrFail(m.OK()), matrixTable(m, markdown).RenderMarkdown(), markdown(matrixLine(m)))
	for _, s := range m.Missing {
		fmt.Fprintf(&b, "\nShard %s is missing.\n", markdown(s))
	}
	left := 0
	for i := range m.Kernels {
		k := &m.Kernels[i]
		if k.State != result.Done {
			fmt.Fprintf(&b, "\n**%s**: %s: %s\n", markdown(k.Kernel), markdown(string(k.State)), markdown(k.Reason))
		}
		if k.Report == nil {
			continue
		}
		for _, c := range failed(k.Report) {
			text := details(fmt.Sprintf("%s %s %s: %s", k.Kernel, verdictOf(c), c.Name, wrongWith(k.Report, c)), caseText(c))
			if b.Len()+len(text) > maxMarkdown {
				left++
				continue
			}
			b.WriteString(text)
		}
		for _, line := range oddities(k.Report) {
			fmt.Fprintf(&b, "\n**%s**: %s\n", markdown(k.Kernel), markdown(line))
		}
		if len(k.Report.Splats) > 0 {
			b.WriteString(details(k.Kernel+": the guest's kernel complained", strings.Join(k.Report.Splats, "\n")))
		}
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%d more cases are in the report.\n", left)
	}
	return b.String()
}

// markdown escapes the characters with a meaning in Markdown or HTML.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range oneLine(s) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*_[]#>~@$", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// details returns text that is collapsed until it is clicked.
func details(title, text string) string {
	text = strings.TrimRight(cut(printable(text), maxDetails), "\n")
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fmt.Sprintf("\n<details><summary>%s</summary>\n\n%stext\n%s\n%s\n\n</details>\n", html.EscapeString(oneLine(title)), fence, text, fence)
}

// maxAnnotations is how many errors of a step GitHub shows.
const maxAnnotations = 10

// Annotations writes failures as workflow commands of GitHub Actions, which shows them beside the
// source of the case. If a case fails alike on several kernels there is one annotation.
//
// Complaints of a guest's kernel, and cases that only passed when they were run once more, are
// warnings, after the errors.
func Annotations(w io.Writer, m *result.Matrix, source func(*result.CaseReport) string) {
	var list, warnings []*annotation
	addTo := func(list *[]*annotation, kernel, title, text, file string) {
		i := slices.IndexFunc(*list, func(a *annotation) bool { return a.title == title && a.text == text && a.file == file })
		if i < 0 {
			i, *list = len(*list), append(*list, &annotation{title: title, text: text, file: file})
		}
		(*list)[i].kernels = append((*list)[i].kernels, kernel)
	}
	for _, s := range m.Missing {
		list = append(list, &annotation{title: "shard " + s, text: "its report is missing"})
	}
	for i := range m.Kernels {
		k := &m.Kernels[i]
		if k.State != result.Done {
			addTo(&list, k.Kernel, string(k.State), k.Reason, "")
		}
		if k.Report == nil {
			continue
		}
		for _, c := range failed(k.Report) {
			addTo(&list, k.Kernel, verdictOf(c)+" "+c.Name, wrongWith(k.Report, c), source(c))
		}
		for _, c := range k.Report.Retried() {
			addTo(&warnings, k.Kernel, "flaky "+c.Name, "failed, and passed when it was run once more: "+oneLine(cut(c.FirstTrouble(), maxProblem)), source(c))
		}
		for _, s := range k.Report.Splats {
			addTo(&warnings, k.Kernel, "the guest's kernel complained", oneLine(cut(s, maxProblem)), "")
		}
	}
	// GitHub limits errors and warnings separately.
	for _, a := range warnings[:min(len(warnings), maxAnnotations)] {
		a.warning = true
		fmt.Fprintln(w, a)
	}
	if left := len(list) - maxAnnotations + 1; left > 1 {
		list = append(list[:maxAnnotations-1], &annotation{title: "bpfreplay", text: fmt.Sprintf("%d more failures are in the summary", left)})
	}
	for _, a := range list {
		fmt.Fprintln(w, a)
	}
}

type annotation struct {
	title, text, file string
	kernels           []string
	warning           bool
}

// String returns the workflow command.
func (a *annotation) String() string {
	title, file := a.title, ""
	if len(a.kernels) > 0 {
		title = strings.Join(slices.Compact(a.kernels), ", ") + ": " + title
	}
	if a.file != "" {
		file = "file=" + property(a.file) + ","
	}
	level := "error"
	if a.warning {
		level = "warning"
	}
	return fmt.Sprintf("::%s %stitle=%s::%s", level, file, property(title), message(a.text))
}

// message escapes the text of a workflow command, and property a property's value, like GitHub's
// own toolkit (packages/core/src/command.ts).
func message(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(printable(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(message(oneLine(s)))
}
