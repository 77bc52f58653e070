package main

import (
	"archive/zip"
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

// proxyOf is the address of a module proxy, in files, that has this tree as a version of the module. What it needs
// besides is in the module cache.
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
			continue // removed, but not yet in git
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

// `go install` gives a command that works where there is no tree. It may be linked dynamically, as that is what Go
// does where there is a C compiler.
func TestInstall(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	need.Program(t, "cc")
	bin, elsewhere, cache := t.TempDir(), t.TempDir(), t.TempDir()
	proxy := proxyOf(t, "v0.0.1")
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	assert.NilError(t, err)
	known := strings.TrimSpace(string(modules))
	install := exec.CommandContext(t.Context(), "go", "install", modulePath+"/cmd/bpfreplay@latest")
	install.Dir = elsewhere
	install.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=1", "GOFLAGS=-modcacherw -trimpath", "GONOSUMDB=*", "GONOSUMCHECK=1", "GOSUMDB=off",
		"GOMODCACHE="+filepath.Join(cache, "mod"), "GOPROXY="+proxy+",file://"+filepath.Join(known, "cache", "download"))
	out, err := install.CombinedOutput()
	assert.NilError(t, err, "%s", out)
	self := filepath.Join(bin, "bpfreplay")
	for _, args := range [][]string{
		{"kernels", "list"},
		{"exec", "--kernel", "6.12", "--accel", "tcg", "--cold", "--", "true"},
		{"vmtest", "--kernel", "6.12", "--accel", "tcg", "--cold", "--case", "maps_hash", "--engines", "trace,replay"},
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
