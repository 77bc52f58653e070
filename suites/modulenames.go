package suites

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/bpfreplay/bpfreplay/vmimage"
)

// ModuleNames are the names that the test modules add to a kernel, sorted. They come from the text
// of the suite's own modules, because its objects cannot refer to names of other releases.
type ModuleNames struct {
	Modules     []string
	Functions   []string
	Variables   []string
	Tracepoints []string
	StructOps   []string // kinds of struct_ops maps
}

// Each has the name as its first group.
var (
	functionForm   = regexp.MustCompile(`(?m)^(?:[a-zA-Z_][\w \t*]*[ \t*])?([a-z_]\w*)\([^;{]*\)\s*\{`)
	variableForm   = regexp.MustCompile(`\bDEFINE_PER_CPU\([^,()]*,\s*(\w+)\)`)
	tracepointForm = regexp.MustCompile(`(?m)^\w*(?:TRACE_EVENT|DECLARE_TRACE)\w*\((\w+),`)
	structOpsForm  = regexp.MustCompile(`(?m)^\s*\.name\s*=\s*"(\w+)"`)
)

// ModuleNames reads the names from the test modules in the corpus's source.
func (c *Corpus) ModuleNames(store *vmimage.Store) (*ModuleNames, error) {
	return readModuleNames(filepath.Join(c.SourceDir(store), filepath.FromSlash(selftests)))
}

func readModuleNames(dir string) (*ModuleNames, error) {
	n := new(ModuleNames)
	for _, sub := range moduleDirs {
		files, err := sourceFiles(filepath.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("test modules: %w", err)
			}
			if filepath.Ext(file) == ".c" {
				n.Modules = append(n.Modules, moduleOf(file))
				n.Functions = append(n.Functions, found(functionForm, text)...)
			}
			n.Variables = append(n.Variables, found(variableForm, text)...)
			n.Tracepoints = append(n.Tracepoints, found(tracepointForm, text)...)
			n.StructOps = append(n.StructOps, found(structOpsForm, text)...)
		}
	}
	for _, list := range []*[]string{&n.Modules, &n.Functions, &n.Variables, &n.Tracepoints, &n.StructOps} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return n, nil
}

func found(form *regexp.Regexp, text []byte) []string {
	var out []string
	for _, m := range form.FindAllSubmatch(text, -1) {
		out = append(out, string(m[1]))
	}
	return out
}
