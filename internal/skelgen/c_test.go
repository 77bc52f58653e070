package skelgen

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// compilers has the compilers that the headers must work with.
var compilers = [][]string{
	{"gcc", "-std=c11", "-x", "c"},
	{"g++", "-std=c++17", "-x", "c++"},
	{"clang-19", "-std=c11", "-x", "c"},
	{"clang-19", "-std=c++17", "-x", "c++"},
}

// tool returns the path of a compiler. The objects are committed, so clang is optional.
func tool(t *testing.T, name string) string {
	t.Helper()
	if name != "clang-19" {
		return need.Program(t, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs clang-19: %v", err)
	}
	return path
}

// cc compiles and links, unless args say otherwise.
func cc(t *testing.T, compiler []string, args ...string) {
	t.Helper()
	args = append(append(append([]string{}, compiler[1:]...), "-Wall", "-Wextra", "-Werror"), args...)
	out, err := exec.Command(tool(t, compiler[0]), args...).CombinedOutput()
	if err != nil {
		out = out[:min(len(out), 4000)]
		t.Fatalf("%s %s: %v\n%s", compiler[0], strings.Join(args, " "), err, out)
	}
}

// headerOf writes the header of an object's skeleton. It returns false if C does not support the
// object.
func headerOf(t *testing.T, dir, name, path string) bool {
	t.Helper()
	obj, file, ok := generated(t, path)
	if !ok {
		return false
	}
	code, err := C(obj, file, COptions{Name: name})
	if errors.Is(err, unix.ENOTSUP) {
		return false
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return false
	}
	put(t, filepath.Join(dir, name+".lskel.h"), string(code))
	return true
}

func compileC(t *testing.T, paths []string) {
	dir := t.TempDir()
	n := 0
	var sources []string
	var source strings.Builder
	flush := func() {
		if source.Len() > 0 {
			sources = append(sources, filepath.Join(dir, fmt.Sprintf("all%d.c", len(sources))))
			put(t, sources[len(sources)-1], source.String())
			source.Reset()
		}
	}
	for i, path := range paths {
		name := fmt.Sprintf("s%d", i)
		if !headerOf(t, dir, name, path) {
			continue
		}
		fmt.Fprintf(&source, "#include \"%s.lskel.h\" /* %s */\n", name, path)
		if n++; n%together == 0 {
			flush()
		}
	}
	flush()
	if n < len(paths)/2 {
		t.Fatalf("skeletons of %d of %d objects", n, len(paths))
	}
	for _, compiler := range compilers {
		t.Run(compiler[0]+compiler[1], func(t *testing.T) {
			for _, s := range sources {
				cc(t, compiler, "-fsyntax-only", "-c", s)
			}
		})
	}
	t.Logf("skeletons of %d of %d objects", n, len(paths))
}

// The headers of all core objects compile, and every member has its variable's offset in the
// object.
func TestCCompiles(t *testing.T) {
	paths, err := filepath.Glob(coreObjects + "/*.bpf.o")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, paths)
	}
	compileC(t, paths)
}

// A C skeleton probes the kernel for what its artefact needs, like package target.
func TestCNeeds(t *testing.T) {
	obj, file, ok := generated(t, filepath.Join(coreObjects, "maps_array.bpf.o"))
	if !ok {
		t.Fatal("no artefact")
	}
	a, err := artefact.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	a.Needs = append(a.Needs, artefact.Need{Capability: "core_no_func_info", Why: "function sub"})
	if file, err = a.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	code, err := C(obj, file, COptions{Name: "needs"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "needs.c"), string(code)+`
int main(void)
{
	struct needs *s = needs__open();

	puts(needs__load(s) < 0 ? s->error.text : "loaded");
	needs__destroy(s);
	return 0;
}
`)
	bin := filepath.Join(dir, "run")
	cc(t, compilers[0], filepath.Join(dir, "needs.c"), "-o", bin)
	need.Root(t)
	need.BPF(t)
	want := "loaded\n"
	if target.Probe("core_no_func_info") != nil {
		want = "this kernel lacks core_no_func_info, which function sub needs\n"
	}
	out, err := exec.Command(bin).CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%q, not %q (%v)", out, want, err)
	}
}

// shape describes a prototype for the comparison with the kernel's.
func TestShape(t *testing.T) {
	obj, _, ok := generated(t, filepath.Join(coreObjects, "kfunc_flavours.bpf.o"))
	if !ok {
		t.Fatal("no artefact")
	}
	got := make(map[string]string)
	for id := btf.TypeID(1); ; id++ {
		f, err := obj.BTF.Type(id)
		if err != nil {
			break
		}
		if f.Kind == btf.KindFunc {
			got[f.Name] = shape(obj.BTF, f.Ref, 0)
		}
	}
	want := map[string]string{ // void *(void *, int), and others of the same name
		"bpf_rdonly_cast___right": "FCpvipv", "bpf_rdonly_cast___swapped": "FCipvpv", "bpf_rdonly_cast___alone": "FBpvpv", "run": "FBpsi",
	}
	for name, s := range want {
		if got[name] != s {
			t.Errorf("%s: %q, not %q", name, got[name], s)
		}
	}
}

const featuresDir = "../../loader/skel/internal/features"

// compiled compiles a source in its directory, as gen --cc does, because names of files are in the
// object.
func compiled(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".o")
	compile := exec.Command(tool(t, "clang-19"), "-O2", "-mcpu=v1", "-I/usr/include/x86_64-linux-gnu", "-D__TARGET_ARCH_x86",
		"-g", "-target", "bpfel", "-fno-ident", "-fdebug-compilation-dir", ".", "-c", name+".bpf.c", "-o", path)
	compile.Dir = dir
	out, err := compile.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// A program in C and C++ loads, attaches and closes a skeleton on this kernel, also with libbpf's
// runtime.
func TestCRuns(t *testing.T) {
	object := compiled(t, featuresDir, "features")
	dir := t.TempDir()
	if !headerOf(t, dir, "features", object) {
		t.Fatal("no header")
	}
	builds := map[string][]string{"gcc": compilers[0], "g++": compilers[1], "clang": compilers[2]}
	if _, err := os.Stat("/usr/include/bpf/skel_internal.h"); err == nil {
		builds["libbpf"] = []string{"gcc", "-std=gnu11", "-x", "c", "-DBPFREPLAY_SKEL_INTERNAL", "-Wno-error"}
	}
	for name, compiler := range builds {
		t.Run(name, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "run")
			cc(t, compiler, "-O2", "-I"+dir, "testdata/run.c", "-o", bin)
			need.Root(t)
			need.BPF(t)
			pins := t.TempDir()
			if err := unix.Mount("bpf", pins, "bpf", 0, ""); err != nil {
				t.Skipf("cannot mount a BPF file system: %v", err)
			}
			defer unix.Unmount(pins, unix.MNT_DETACH)
			out, err := exec.Command(bin, pins).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{
				"broken: program on_enter: PROG_LOAD: Permission denied",
				"log: R1 type=scalar expected=fp, pkt",
				"hits: more than 5000", "sum: hits * 999", "mode: 2147483647", "text: changed", "events: 65536", "reused: same id", "pinned: same id",
				"unpinned: map skel_pinned: pin at /nowhere/skel_pinned (is that on a BPF file system?): No such file or directory",
				"differs: map skel_pinned: the map that is pinned at " + pins + "/skel_pinned has another definition", "open: as before",
			} {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("no line %q in\n%s", want, out)
				}
			}
		})
	}
}

// The committed skeletons are what this package generates from their sources.
func TestSkeletonsAreCurrent(t *testing.T) {
	const examples = "../../loader/skel/examples/"
	target, err := FindTarget("bpfel")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		dir, source string
		o           GoOptions
	}{
		{featuresDir, "features", GoOptions{Package: "features", Ident: "Features"}},
		{"../../loader/skel/internal/hooks", "hooks", GoOptions{Package: "hooks", Ident: "Hooks"}},
		{examples + "counter", "counter", GoOptions{Package: "main", Ident: "Counter", Types: []string{"event"}}},
		{examples + "xdp", "xdp", GoOptions{Package: "main", Ident: "Filter"}},
		{examples + "lsm", "lsm", GoOptions{Package: "main", Ident: "Keep"}},
		{examples + "structops", "structops", GoOptions{Package: "main", Ident: "Slow"}},
	} {
		obj, file, ok := generated(t, compiled(t, s.dir, s.source))
		if !ok {
			t.Fatalf("%s: no artefact", s.dir)
		}
		stem := strings.ToLower(s.o.Ident) + "_bpfel"
		s.o.File, s.o.Constraint = stem+".bpfreplay", target.Constraint
		code, err := Go(obj, file, s.o)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]byte{stem + ".go": code, s.o.File: file} {
			got, err := os.ReadFile(filepath.Join(s.dir, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not current: run go generate in %s (%v)", name, s.dir, err)
			}
		}
	}
}

// The headers of all objects of the suites that BPFREPLAY_SUITES names compile; see
// TestGoCompilesSuites.
func TestCCompilesSuites(t *testing.T) {
	eachSuite(t, compileC)
}
