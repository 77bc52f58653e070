package guestexec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// TestExecRestored: small programs run in copies of one saved guest and are sent their files. Each
// has its own files unchanged, and none of another program's.
func TestExecRestored(t *testing.T) {
	need.QEMU(t)
	cache := t.TempDir()
	store, err := vmimage.Open(vmimage.Options{Cache: cache})
	assert.NilError(t, err)
	defer store.Close()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	assert.NilError(t, os.MkdirAll(filepath.Join(tree, "empty"), 0o755))
	assert.NilError(t, os.Chmod(filepath.Join(tree, "empty"), 0o731))
	large := bytes.Repeat([]byte("\x00\n\xff{}"), 1<<18)
	assert.NilError(t, os.WriteFile(filepath.Join(tree, "large"), large, 0o600))
	assert.NilError(t, os.WriteFile(filepath.Join(tree, "nothing"), nil, 0o600))
	assert.NilError(t, os.Chmod(filepath.Join(tree, "nothing"), 0o666))
	assert.NilError(t, os.Symlink("../tree/large", filepath.Join(tree, "link")))
	stat, ls := need.Program(t, "stat"), need.Program(t, "ls")

	o := guest.Config{Agent: need.Agent(t), Store: store, Kernel: need.Kernel(t, "6.12"), Accelerator: accel.TCG, Note: func(line string) { t.Log(line) }}
	run := func(script string, with ...string) (string, bool) {
		t.Helper()
		var out bytes.Buffer
		shell := Command{
			Program: need.Program(t, "sh"), Args: []string{"sh", "-c", script}, Dir: dir,
			With:   append(with, need.Program(t, "cat"), need.Program(t, "cksum"), need.Program(t, "date")),
			Stdout: &out, Stderr: &out, Timeout: DefaultExecTimeout,
		}
		s, err := shell.session(arch.Native)
		assert.NilError(t, err)
		m, err := s.guest(t.Context(), &o, &serving{})
		assert.NilError(t, err)
		defer m.VM.Close()
		assert.NilError(t, m.VM.Do(t.Context(), func(*vm.Port) error {
			ended, err := s.talk(t.Context(), m.Conn)
			if err == nil && (ended.Status != 0 || ended.Error != "") {
				return fmt.Errorf("%+v: %s", ended, out.String())
			}
			return err
		}))
		return out.String(), m.Restored
	}

	out, restored := run(`cd tree && stat -c '%n %a %F' * && cksum <link && cat link && echo mine >/left`, tree, stat)
	assert.Assert(t, restored, "made, saved and restored")
	facts := "empty 731 directory\nlarge 600 regular file\nlink 777 symbolic link\nnothing 666 regular empty file\n"
	assert.Assert(t, strings.HasPrefix(out, facts), "%.200q", out)
	assert.Assert(t, strings.HasSuffix(out, string(large)))

	began := time.Now()
	out, restored = run("ls / . && pwd && date +%s", ls)
	assert.Assert(t, restored)
	assert.Assert(t, is.Contains(out, dir+"\n"))
	for _, other := range []string{"left", "tree"} {
		assert.Assert(t, !strings.Contains(out, other+"\n"), out)
	}
	lines := strings.Fields(out)
	seconds, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	assert.NilError(t, err)
	off := time.Unix(seconds, 0).Sub(began)
	assert.Assert(t, off > -2*time.Second && off < time.Minute, "the guest's clock is off by %s", off)
	saved, err := os.ReadDir(filepath.Join(cache, "saved"))
	assert.NilError(t, err)
	assert.Equal(t, len(saved), 1)

	o.Cold = true
	_, restored = run("cat tree/nothing", tree)
	assert.Assert(t, !restored)
}

// TestExecLargeFiles: large files are in the initramfs, and that guest is not saved.
func TestExecLargeFiles(t *testing.T) {
	c := Command{Program: self(t), Args: []string{"self"}, Dir: "/"}
	s, err := c.session(arch.Native)
	assert.NilError(t, err)
	assert.Assert(t, s.reusable == (sizeOf(s.sent) > 0) && len(s.sent)+len(s.files) > 0)

	large := filepath.Join(t.TempDir(), "large")
	assert.NilError(t, os.WriteFile(large, nil, 0o600))
	assert.NilError(t, os.Truncate(large, sendLimit+1))
	c.With = []string{large}
	s, err = c.session(arch.Native)
	assert.NilError(t, err)
	assert.Assert(t, !s.reusable)
	assert.Equal(t, len(s.sent), 0)
	assert.Assert(t, s.memory > execMemory)
}
