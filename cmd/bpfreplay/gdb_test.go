package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// The printed command attaches gdb. Its breakpoint stops the guest at the entry of the kernel's
// bpf(2), with the registers of a system call.
func TestGDB(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	gdb := need.Program(t, "gdb")
	cmd := exec.CommandContext(t.Context(), command, "exec", "--accel", "tcg", "--gdb", "--with", "selftests/bpf/maps_array.bpf.o",
		"--", command, "load", "selftests/bpf/maps_array.bpf.o")
	cmd.Dir = root(t)
	stderr, err := cmd.StderrPipe()
	assert.NilError(t, err)
	assert.NilError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	var told strings.Builder
	attach := regexp.MustCompile(`^  gdb (.* -ex continue)$`)
	var line string
	for lines := bufio.NewScanner(stderr); line == "" && lines.Scan(); {
		fmt.Fprintln(&told, lines.Text())
		if m := attach.FindStringSubmatch(lines.Text()); m != nil {
			line = m[1]
		}
	}
	assert.Assert(t, line != "", "no line to attach gdb:\n%s", &told)
	rest := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(stderr)
		rest <- string(all)
	}()
	out, err := exec.CommandContext(t.Context(), "sh", "-c",
		"exec "+gdb+" -nx -batch "+line+" -ex 'printf \"command %d\\n\", ((unsigned long *)$rdi)[14]' -ex 'info registers rip' -ex 'delete' -ex detach").CombinedOutput()
	if err != nil {
		_ = cmd.Process.Signal(os.Interrupt)
		t.Fatalf("gdb: %v: %s\nthe guest: %s%s", err, out, &told, <-rest)
	}
	assert.Check(t, is.Regexp(`Breakpoint 1, 0xffffffff[0-9a-f]+ in __x64_sys_bpf`, string(out)))
	assert.Check(t, is.Regexp(`command [0-9]+`, string(out))) // a type and a register, from struct pt_regs
	assert.Check(t, is.Regexp(`rip +0xffffffff[0-9a-f]+ +0xffffffff[0-9a-f]+ <__x64_sys_bpf>`, string(out)))
	said := <-rest
	assert.NilError(t, cmd.Wait(), said) // after gdb detaches, the guest runs to its end
}
