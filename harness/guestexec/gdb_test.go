package guestexec

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

const someSymbols = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff812a3c40 T __x64_sys_bpf
ffffffff812a3d00 t helper
ffffffff82a00000 D data
ffffffffc0201000 t of_a_module	[nf_conntrack]
`

func TestWriteSymbols(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vmlinux")
	assert.NilError(t, writeSymbols(file, elf.EM_X86_64, []byte(someSymbols)))
	e, err := elf.Open(file)
	assert.NilError(t, err)
	defer e.Close()
	symbols, err := e.Symbols()
	assert.NilError(t, err)
	assert.Equal(t, len(symbols), 4)
	got := symbols[1]
	assert.Equal(t, got.Name, "__x64_sys_bpf")
	assert.Equal(t, got.Value, uint64(0xffffffff812a3c40))
	assert.Equal(t, got.Size, uint64(0xc0))
	assert.Equal(t, elf.ST_TYPE(got.Info), elf.STT_FUNC)
	assert.Equal(t, elf.ST_TYPE(symbols[3].Info), elf.STT_OBJECT)
	assert.Assert(t, !hasSymbols(file)) // no types

	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Skip("no gdb to read it: install Debian's package gdb")
	}
	out, err := exec.CommandContext(t.Context(), gdb, "-nx", "-batch", "-ex", "file "+file, "-ex", "info address __x64_sys_bpf", "-ex", "info symbol 0xffffffff812a3d04").CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Check(t, is.Contains(string(out), "0xffffffff812a3c40"))
	assert.Check(t, is.Contains(string(out), "helper + 4"))
}

func TestNoSymbols(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vmlinux")
	hidden := strings.ReplaceAll(someSymbols, "ffffffff8", "00000000")
	assert.ErrorContains(t, writeSymbols(file, elf.EM_X86_64, []byte(strings.Split(hidden, "\n")[0])), "tells no addresses")
}
