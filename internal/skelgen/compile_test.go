package skelgen

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

const coreObjects = "../../selftests/bpf"

// generated returns the file of an object's artefact. ok is false for an object that gen refuses.
func generated(t *testing.T, path string) (obj *object.Object, file []byte, ok bool) {
	t.Helper()
	obj, err := object.Open(path)
	if err != nil {
		return nil, nil, false
	}
	plan, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return nil, nil, false
	}
	a, err := emit.Emit(plan)
	if err != nil {
		return nil, nil, false
	}
	file, err = a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return obj, file, true
}

// workspace returns a directory in which Go code may import this module.
func workspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "go.mod"), "module example.com/skeletons\n\ngo 1.26.0\n")
	put(t, filepath.Join(dir, "go.work"), fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%s\n)\n", root))
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func goRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(need.Program(t, "go"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK="+filepath.Join(dir, "go.work"), "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// skeleton writes the skeleton of an object, with checks of the layouts for the compiler.
func skeleton(t *testing.T, dir, pkg, ident, path string) bool {
	t.Helper()
	obj, file, ok := generated(t, path)
	if !ok {
		return false
	}
	o := GoOptions{Package: pkg, Ident: ident, File: ident + "_bpfel.bpfreplay"}
	code, err := Go(obj, file, o)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return false
	}
	again, err := Go(obj, file, o)
	if err != nil || string(again) != string(code) {
		t.Errorf("%s: the second skeleton is another one (%v)", path, err)
	}
	g, err := newGolang(obj, file, o)
	if err != nil {
		t.Fatal(err)
	}
	var checks strings.Builder
	fmt.Fprintf(&checks, "package %s\n\nimport \"unsafe\"\n\nvar _ = unsafe.Sizeof(0)\n", pkg)
	for _, c := range g.types.checks {
		fmt.Fprintf(&checks, "var _ = [1]bool{}[%s]\n", c)
	}
	put(t, filepath.Join(dir, pkg, ident+"_bpfel.go"), string(code))
	put(t, filepath.Join(dir, pkg, o.File), string(file))
	put(t, filepath.Join(dir, pkg, ident+"_checks.go"), checks.String())
	return true
}

// Skeletons of all core objects compile, and every field has its variable's offset in the object.
func TestGoCompiles(t *testing.T) {
	paths, err := filepath.Glob(coreObjects + "/*.bpf.o")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, paths)
	}
	compileGo(t, paths)
}

// together is the number of skeletons in a package: compiling a package takes more time than
// compiling a skeleton.
const together = 64

func compileGo(t *testing.T, paths []string) {
	dir := workspace(t)
	n := 0
	for i, path := range paths {
		if skeleton(t, dir, fmt.Sprintf("p%d", i/together), fmt.Sprintf("S%dx", i), path) {
			n++
		}
	}
	if n < len(paths)/2 {
		t.Fatalf("skeletons of %d of %d objects", n, len(paths))
	}
	goRun(t, dir, "vet", "./...")
	t.Logf("skeletons of %d of %d objects", n, len(paths))
}

// Skeletons of all objects of the suites in BPFREPLAY_SUITES compile. These are files such as
// ~/.cache/bpfreplay/suites/kernel.json, separated by colons, which are not in the tree. GOARCH=386
// checks layouts with 32-bit words.
func TestGoCompilesSuites(t *testing.T) {
	eachSuite(t, compileGo)
}

func eachSuite(t *testing.T, compile func(t *testing.T, paths []string)) {
	suites := os.Getenv("BPFREPLAY_SUITES")
	if suites == "" {
		t.Skip("BPFREPLAY_SUITES names no suites")
	}
	for _, suite := range filepath.SplitList(suites) {
		t.Run(filepath.Base(suite), func(t *testing.T) {
			data, err := os.ReadFile(suite)
			if err != nil {
				t.Fatal(err)
			}
			var s struct{ Objects []struct{ File string } }
			if err := json.Unmarshal(data, &s); err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, o := range s.Objects {
				if o.File != "" {
					paths = append(paths, filepath.Join(filepath.Dir(suite), o.File))
				}
			}
			compile(t, paths)
		})
	}
}

// Outside of this module a skeleton imports only x/sys and cilium/ebpf, and no cgo.
func TestRuntimeImports(t *testing.T) {
	cmd := exec.Command(need.Program(t, "go"), "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}{{if .CgoFiles}}cgo{{end}}", Runtime)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	want := []string{"github.com/bpfreplay/bpfreplay", "github.com/cilium/ebpf", "golang.org/x/sys"}
	if got := slices.Compact(lines); !slices.Equal(got, want) {
		t.Errorf("package skel needs %v, not %v", got, want)
	}
}
