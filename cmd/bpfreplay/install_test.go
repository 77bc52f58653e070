package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

const modulePath = "github.com/bpfreplay/bpfreplay"

// proxyOf returns the address of a module proxy, made of files, that has this tree as a version of
// the module. Its dependencies are in the module cache.
func proxyOf(t *testing.T, version string) string {
	t.Helper()
	git := exec.Command(need.Program(t, "git"), "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard")
	git.Dir = root(t)
	list, err := git.Output()
	assert.NilError(t, err)
	proxy := t.TempDir()
	dir := filepath.Join(proxy, modulePath, "@v")
	assert.NilError(t, os.MkdirAll(dir, 0o755))
	f, err := os.Create(filepath.Join(dir, version+".zip"))
	assert.NilError(t, err)
	archive := zip.NewWriter(f)
	for _, name := range strings.Fields(string(list)) {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if os.IsNotExist(err) {
			continue // removed, but still in git's index
		}
		assert.NilError(t, err)
		w, err := archive.Create(modulePath + "@" + version + "/" + name)
		assert.NilError(t, err)
		_, err = w.Write(data)
		assert.NilError(t, err)
	}
	assert.NilError(t, archive.Close())
	assert.NilError(t, f.Close())
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	assert.NilError(t, err)
	for name, text := range map[string]string{
		"list": version + "\n", version + ".mod": string(mod), version + ".info": fmt.Sprintf(`{"Version":%q}`, version),
	} {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return "file://" + proxy
}

// abroad returns the environment of a go command that has this tree as a version of the module, and
// no network.
func abroad(t *testing.T) []string {
	t.Helper()
	proxy := proxyOf(t, "v0.0.1")
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	assert.NilError(t, err)
	known := strings.TrimSpace(string(modules))
	return append(os.Environ(), "GOFLAGS=-modcacherw -trimpath", "GONOSUMDB=*", "GOSUMDB=off", "GOWORK=off", "GOTOOLCHAIN=local",
		"GOMODCACHE="+filepath.Join(t.TempDir(), "mod"), "GOPROXY="+proxy+",file://"+filepath.Join(known, "cache", "download"))
}

// `go install` makes a command that works without the source tree. It may be linked dynamically, as
// Go does where there is a C compiler.
func TestInstall(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	need.Program(t, "cc")
	need.Program(t, "bpftool") // also linked dynamically
	bin, elsewhere := t.TempDir(), t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", modulePath+"/cmd/bpfreplay@latest")
	install.Dir = elsewhere
	install.Env = append(abroad(t), "GOBIN="+bin, "CGO_ENABLED=1")
	out, err := install.CombinedOutput()
	assert.NilError(t, err, "%s", out)
	self := filepath.Join(bin, "bpfreplay")
	for _, args := range [][]string{
		{"kernels", "list"},
		{"exec", "--kernel", "6.12", "--accel", "tcg", "--cold", "--", "true"},
		{"vmtest", "--kernel", "6.12", "--accel", "tcg", "--cold", "--case", "maps_hash", "--engines", "trace,replay,libbpf"},
	} {
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Dir = elsewhere
		out, err := cmd.CombinedOutput()
		assert.Check(t, err, "%v: %s", args, out)
	}
	left, err := os.ReadDir(elsewhere)
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 1)) // out
}

const foreignMain = `package main

//go:generate go tool bpfreplay gen --go --cc clang-19 --type event counter.bpf.c

import "fmt"

func main() {
	s, err := OpenCounter()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	s.Rodata.Parent = 7
	fmt.Println(s.Rodata.Parent, len(CounterEvent{}.Command), s.Bss.Hits)
}
`

// Another module gets the command as a tool, generates a skeleton with it, and builds code that
// imports its runtime.
func TestTool(t *testing.T) {
	if _, err := exec.LookPath("clang-19"); err != nil {
		t.Skipf("needs clang-19: %v", err)
	}
	dir := t.TempDir()
	env := abroad(t)
	goRun := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(env, "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		assert.NilError(t, err, "go %s\n%s", strings.Join(args, " "), out)
		return string(out)
	}
	source, err := os.ReadFile(filepath.Join(root(t), "loader/skel/examples/counter/counter.bpf.c"))
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "counter.bpf.c"), source, 0o600))
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(foreignMain), 0o600))
	goRun("mod", "init", "example.com/foreign")
	goRun("get", "-tool", modulePath+"/cmd/bpfreplay")
	goRun("generate", "./...")
	goRun("vet", "./...")
	assert.Equal(t, goRun("run", "."), "7 16 0\n")
	same, err := os.ReadFile(filepath.Join(root(t), "loader/skel/examples/counter/counter_bpfel.bpfreplay"))
	assert.NilError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "counter_bpfel.bpfreplay"))
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(got, same), "the artefact is not that of the example")
}
