package skelgen

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// outcomes loads the artefacts of the core objects on this kernel and returns the results, by
// object.
func outcomes(t *testing.T, paths []string) map[string]error {
	t.Helper()
	need.Root(t)
	need.BPF(t)
	kernel := target.New()
	all := make(map[string]error)
	for _, path := range paths {
		_, file, ok := generated(t, path)
		if !ok {
			continue
		}
		a, err := artefact.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay.Load(a, replay.Options{Target: kernel})
		if err == nil {
			r.Close()
		}
		all[path] = err
	}
	return all
}

func coreFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(coreObjects + "/*.bpf.o")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, paths)
	}
	return paths
}

// lines returns a program's output by object. Each line has the object, a tab, and an error or
// "ok".
func lines(t *testing.T, bin string) map[string]string {
	t.Helper()
	out, err := exec.Command(bin).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all[path] = said
	}
	return all
}

// The Go skeleton of each core object loads on this kernel if the artefact does, and otherwise
// gives the same error.
func TestGoLoads(t *testing.T) {
	paths := coreFiles(t)
	want := outcomes(t, paths)
	dir := workspace(t)
	var calls strings.Builder
	for i, path := range paths {
		if ident := fmt.Sprintf("S%dx", i); skeleton(t, dir, "main", ident, path) {
			fmt.Fprintf(&calls, "\t{ s, err := Open%s(); if err == nil { err = s.Load() }; said(%q, err); s.Close() }\n", ident, path)
		}
	}
	put(t, filepath.Join(dir, "main", "main.go"), `package main

import (
	"fmt"
	"os"
	"strings"
)

func said(path string, err error) {
	text := "ok"
	if err != nil {
		_, text, _ = strings.Cut(err.Error(), ": ") // "skeleton of NAME"
		text = strings.ReplaceAll(text, "\n", " ")
	}
	fmt.Printf("%s\t%s\n", path, text)
}

func open() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "bpf") {
			n++
		}
	}
	return n
}

func main() {
`+calls.String()+`	fmt.Printf("left open\t%d\n", open())
}
`)
	bin := filepath.Join(dir, "run")
	goRun(t, dir, "build", "-o", bin, "./main")
	got := lines(t, bin)
	if got["left open"] != "0" {
		t.Errorf("%s file descriptors are left open", got["left open"])
	}
	loaded := 0
	for path, err := range want {
		text := "ok"
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", " ")
		} else {
			loaded++
		}
		if got[path] != text {
			t.Errorf("%s: the skeleton says %q, replay %q", path, got[path], text)
		}
	}
	t.Logf("%d of %d skeletons load", loaded, len(want))
}

// The same in C, except for the verifier's messages.
func TestCLoads(t *testing.T) {
	paths := coreFiles(t)
	want := outcomes(t, paths)
	dir := t.TempDir()
	var headers, calls strings.Builder
	loaded := 0
	for i, path := range paths {
		name := fmt.Sprintf("s%d", i)
		if !headerOf(t, dir, name, path) {
			delete(want, path)
			continue
		}
		fmt.Fprintf(&headers, "#include \"%s.lskel.h\"\n", name)
		fmt.Fprintf(&calls, "\t{ struct %s *s = %s__open(); int err = %s__load(s); printf(\"%s\\t%%s\\n\", err < 0 ? s->error.text : \"ok\"); %s__destroy(s); }\n",
			name, name, name, path, name)
	}
	put(t, filepath.Join(dir, "all.c"), headers.String()+"int main(void)\n{\n"+calls.String()+"\treturn dup(1) - 3;\n}\n")
	bin := filepath.Join(dir, "run")
	cc(t, compilers[0], filepath.Join(dir, "all.c"), "-o", bin)
	const path = "../../selftests/bpf/kconfig_version.bpf.o"
	if err, ok := want[path]; ok && err == nil && !bootConfig() {
		want[path] = errors.New("kconfig CONFIG_HZ") // Go reads it from /proc/config.gz
	}
	got := lines(t, bin) // it fails if an fd stays open
	for path, err := range want {
		var step *artefact.StepError
		text := "ok"
		switch {
		case errors.As(err, &step):
			text = step.Subject + ": " + step.Op + ": "
		case err != nil:
			if text = ""; strings.HasPrefix(err.Error(), "kconfig ") {
				text = err.Error()
			}
		default:
			loaded++
		}
		if !strings.HasPrefix(got[path], text) || (err != nil) != (got[path] != "ok") {
			t.Errorf("%s: the skeleton says %q, replay %v", path, got[path], err)
		}
	}
	t.Logf("%d of %d skeletons load", loaded, len(want))
}

// bootConfig reports whether the kernel's configuration is in /boot, where C skeletons look for it.
func bootConfig() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	_, err := os.Stat("/boot/config-" + unix.ByteSliceToString(u.Release[:]))
	return err == nil
}
