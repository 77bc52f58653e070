package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"gotest.tools/v3/assert"
	"mvdan.cc/sh/v3/syntax"

	"github.com/bpfreplay/bpfreplay/cmd/internal/artefacts"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// pages returns the files of the documentation, by path from the top of the tree.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, pattern := range []string{"README.md", "docs/*.md", "selftests/README.md"} {
		files, err := filepath.Glob(filepath.Join(root(t), pattern))
		assert.NilError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			assert.NilError(t, err)
			name, err := filepath.Rel(root(t), file)
			assert.NilError(t, err)
			out[name] = string(text)
		}
	}
	assert.Assert(t, len(out) > 10)
	return out
}

var (
	linkForm    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingForm = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInIDs    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the ids that GitHub gives to the headings of a page.
func anchors(text string) []string {
	var out []string
	for _, m := range headingForm.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(notInIDs.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// Every link in the documentation has a target, and the index has all pages.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range linkForm.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue // external
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
				_, err := os.Stat(filepath.Join(root(t), file))
				assert.Check(t, err, "%s: %s", page, m[1])
			}
			if anchor != "" && strings.HasSuffix(file, ".md") {
				assert.Check(t, slices.Contains(anchors(all[file]), anchor), "%s: %s", page, m[1])
			}
		}
	}
	for page := range all {
		if dir, name := filepath.Split(page); dir == "docs/" && name != "README.md" {
			assert.Check(t, strings.Contains(all["docs/README.md"], "("+name+")"), "docs/README.md does not name %s", name)
		}
	}
}

// docsTables returns the generated tables of the documentation, by the name in the comment that
// begins each of them.
var docsTables = map[string]func(t *testing.T) [][]string{
	"statuses": func(*testing.T) [][]string {
		return [][]string{
			{"status", "meaning"},
			{fmt.Sprint(cli.ExitOK), "all is as expected"},
			{fmt.Sprint(cli.ExitFailed), "a difference, or a failed expectation"},
			{fmt.Sprint(cli.ExitTrouble), "the guest, the harness or its input failed"},
			{"another", "of `exec` and `shell`: that of the program, or 128 and the number of the signal that ended it"},
		}
	},
	"rules": func(*testing.T) [][]string {
		rows := [][]string{{"rule", "between", "and", "reason"}}
		for _, r := range compare.Rules() {
			rows = append(rows, []string{"`" + r.ID + "`", r.Left.Name, r.Right.Name, r.Reason})
		}
		return rows
	},
	"kernels": func(t *testing.T) [][]string {
		config := shippedKernels(t)
		rows := [][]string{{"kernel", "architecture", "tiers", "from"}}
		for _, k := range config.Kernels {
			var from []string
			for _, s := range k.Sources {
				switch {
				case s.Debian != nil:
					from = append(from, "Debian "+strings.Join(s.Debian.Suites, ", "))
				case s.Snapshot != nil:
					from = append(from, "Debian's snapshot of "+s.Snapshot.Timestamp[:8])
				case s.OCI != nil:
					from = append(from, s.OCI.Image+":"+s.OCI.Tag)
				default:
					t.Fatalf("kernel %s: a source that the table has no words for", k.Name)
				}
			}
			rows = append(rows, []string{"`" + k.Name + "`", k.Arch, strings.Join(k.Tiers, ", "), strings.Join(from, "; ")})
		}
		return rows
	},
	"capabilities": func(t *testing.T) [][]string {
		config := shippedKernels(t)
		rows := [][]string{{"capability", "since", "meaning"}}
		for _, name := range slices.Sorted(maps.Keys(config.Capabilities)) {
			c := config.Capabilities[name]
			since := c.Since
			for _, of := range slices.Sorted(maps.Keys(c.Archs)) {
				since += ", " + of + " " + c.Archs[of]
			}
			rows = append(rows, []string{"`" + name + "`", since, c.About})
		}
		return rows
	},
}

func shippedKernels(t *testing.T) *catalog.Config {
	t.Helper()
	config, err := catalog.Read(filepath.Join(root(t), "kernels.yaml"))
	assert.NilError(t, err)
	return config
}

// writeTables makes TestDocsTables write the tables instead of comparing them: make docs-tables.
const writeTables = "BPFREPLAY_WRITE_TABLES"

var tableForm = regexp.MustCompile(`(?s)(<!-- ([a-z]+): make docs-tables -->\n).*?(<!-- end -->)`)

// Tables in the documentation that are generated from the code or from kernels.yaml are up to date.
func TestDocsTables(t *testing.T) {
	used := make(map[string]bool)
	for page, text := range pages(t) {
		now := tableForm.ReplaceAllStringFunc(text, func(old string) string {
			m := tableForm.FindStringSubmatch(old)
			rows := docsTables[m[2]]
			if !assert.Check(t, rows != nil, "%s: no table is called %s", page, m[2]) {
				return old
			}
			used[m[2]] = true
			return m[1] + markdownTable(rows(t)) + m[3]
		})
		if os.Getenv(writeTables) != "" {
			assert.NilError(t, os.WriteFile(filepath.Join(root(t), page), []byte(now), 0o644))
			continue
		}
		assert.Check(t, text == now, "%s: a table is not what it should be: run make docs-tables", page)
	}
	for name := range docsTables {
		assert.Check(t, used[name], "no page has table %s", name)
	}
}

func markdownTable(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.ReplaceAll(strings.Join(row, "\x00"), "|", "\\|"))
		if i == 0 {
			fmt.Fprintln(&b, strings.Repeat("|---", len(row))+"|")
		}
	}
	return strings.ReplaceAll(b.String(), "\x00", " | ")
}

// docsCommand is a command in the documentation.
type docsCommand struct {
	page  string
	words []string
}

// commandsIn returns the commands on a page that run bpfreplay or make.
func commandsIn(t *testing.T, page, text string) []docsCommand {
	t.Helper()
	var out []docsCommand
	for line := range strings.Lines(text) {
		code, ok := strings.CutPrefix(line, "    ")
		code = strings.TrimPrefix(strings.TrimSpace(code), "$ ")
		if !ok || !strings.Contains(code, "bpfreplay ") && !strings.HasPrefix(code, "make ") {
			continue
		}
		file, err := syntax.NewParser().Parse(strings.NewReader(code), page)
		if err != nil {
			continue // not a command
		}
		syntax.Walk(file, func(node syntax.Node) bool {
			call, ok := node.(*syntax.CallExpr)
			if !ok {
				return true
			}
			var words []string
			for _, w := range call.Args {
				var b bytes.Buffer
				assert.NilError(t, syntax.NewPrinter().Print(&b, w))
				words = append(words, strings.Trim(b.String(), `'"`))
			}
			if len(words) > 1 && (filepath.Base(words[0]) == "bpfreplay" || words[0] == "make") {
				out = append(out, docsCommand{page, words})
			}
			if i := slices.Index(words, "-exec"); i > 0 && len(words) > i+1 { // go test -exec
				out = append(out, docsCommand{page, append(strings.Fields(words[i+1]), "a.test")})
			}
			return true
		})
	}
	return out
}

// Every command in the documentation exists, and so do its flags.
func TestDocsCommands(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	assert.NilError(t, err)
	n := 0
	for page, text := range pages(t) {
		for _, c := range commandsIn(t, page, text) {
			n++
			if c.words[0] == "make" {
				assert.Check(t, checkMake(string(makefile), c.words[1:]), "%s: %v", page, c.words)
				continue
			}
			assert.Check(t, checkCommand(c.words[1:]), "%s: %v", page, c.words)
		}
	}
	assert.Assert(t, n > 50, "only %d commands were found", n)
}

func checkCommand(args []string) error {
	cmd, rest, err := newRoot().Find(artefacts.LongFlags(args))
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() {
		return fmt.Errorf("%s has no command %v", cmd.CommandPath(), rest)
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd.Flags().Changed("help") {
		return nil
	}
	return cobraArgs(cmd)
}

// Every case of the core suite that a command in the documentation names exists. Every finding ends
// with a command that shows it, unless there is none, and with a link to the code in question.
func TestDocsCases(t *testing.T) {
	core, err := suite.Read(filepath.Join(root(t), "selftests/cases.yaml"))
	assert.NilError(t, err)
	n := 0
	all := pages(t)
	for page, text := range all {
		for _, c := range commandsIn(t, page, text) {
			if slices.ContainsFunc(c.words, func(w string) bool { return strings.HasPrefix(w, "SUITE=") }) {
				continue
			}
			for _, w := range c.words {
				patterns, ok := strings.CutPrefix(w, "CASE=")
				if !ok {
					continue
				}
				for _, pattern := range strings.Fields(strings.Trim(patterns, `'`)) {
					n++
					assert.Check(t, slices.ContainsFunc(core.Cases, func(c suite.Case) bool {
						ok, err := path.Match(pattern, c.Name)
						return err == nil && ok
					}), "%s: no case is called %s", page, pattern)
				}
			}
		}
	}
	assert.Assert(t, n > 20, "only %d", n)
	findings := regexp.MustCompile(`(?m)^\*\*`).Split(all["docs/findings.md"], -1)[1:]
	assert.Assert(t, len(findings) > 40)
	for _, f := range findings {
		title, _, _ := strings.Cut(f, "**")
		assert.Check(t, strings.Contains(f, "Upstream: [") && strings.Contains(f, "](https://"), "%s: no link", title)
	}
}

// cobraArgs checks the number of arguments. Patterns and … stand for several.
func cobraArgs(cmd *cobra.Command) error { return cmd.ValidateArgs(cmd.Flags().Args()) }

var (
	targetForm   = regexp.MustCompile(`(?m)^([a-z-]+):`)
	variableForm = regexp.MustCompile(`(?m)^([A-Z_]+) +\?=`)
)

func checkMake(makefile string, words []string) error {
	names := func(form *regexp.Regexp) (out []string) {
		for _, m := range form.FindAllStringSubmatch(makefile, -1) {
			out = append(out, m[1])
		}
		return out
	}
	for _, w := range words {
		name, _, isVariable := strings.Cut(w, "=")
		known := names(targetForm)
		if isVariable {
			known = names(variableForm)
		}
		if strings.Contains(w, "=") && strings.ToUpper(name) == name || !isVariable {
			if !slices.Contains(known, name) && !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "setup-") {
				return fmt.Errorf("the Makefile has no %s", name)
			}
		}
	}
	return nil
}

// The manual has a page for each command with all of its flags, and completion knows the commands.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), command, "man", dir).CombinedOutput()
	assert.NilError(t, err, "%s", out)
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		text, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		assert.Check(t, err)
		assert.Check(t, bytes.Contains(text, []byte(".SH SYNOPSIS")), cmd.CommandPath())
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRoot())
	text, err := os.ReadFile(filepath.Join(dir, "bpfreplay-exec.1"))
	assert.NilError(t, err)
	assert.Check(t, bytes.Contains(text, []byte(`\-\-qemu\-arg`)) || bytes.Contains(text, []byte(`--qemu-arg`)))
}

// The caches of workflows and actions list what they keep: an exclusion below a cached directory
// has no effect (actions/toolkit#713). Their keys change with every run, so that a newer cache is
// saved and an older one is found.
func TestWorkflowCaches(t *testing.T) {
	need.Program(t, "sh")
	n := 0
	for _, pattern := range []string{".github/workflows/*.yml", ".github/actions/*/action.yml"} {
		files, err := filepath.Glob(filepath.Join(root(t), pattern))
		assert.NilError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			assert.NilError(t, err)
			for _, step := range strings.Split(string(text), "- uses: actions/cache@")[1:] {
				step, _, _ = strings.Cut(step, "\n      - ")
				step, _, _ = strings.Cut(step, "\n    - ")
				n++
				assert.Check(t, !strings.Contains(step, "\n            !"), file)
				assert.Check(t, !strings.Contains(step, "bpfreplay\n"), "%s caches all, saved guests too", file)
				assert.Check(t, strings.Contains(step, "restore-keys:"), file)
			}
			if strings.Contains(string(text), "schedule:") {
				assert.Check(t, strings.Contains(string(text), "kernels update"), "%s never looks for newer kernels", file)
			}
		}
	}
	assert.Assert(t, n > 0)
}
