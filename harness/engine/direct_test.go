package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// TestDirectLog: the verifier's log of a program comes with its error, the
// instructions among it, but not the million of one that it gives up on.
func TestDirectLog(t *testing.T) {
	need.BPF(t)
	for name, test := range map[string]struct {
		insns        asm.Instructions
		errno        error
		last         string
		instructions bool
	}{
		"refused": {
			asm.Instructions{asm.Mov.Reg(asm.R0, asm.R9), asm.Return()},
			unix.EACCES, "R9 !read_ok", true,
		},
		"too long": {
			asm.Instructions{
				asm.Mov.Imm(asm.R0, 0),
				asm.Add.Imm(asm.R0, 1).WithSymbol("again"),
				asm.JLT.Imm(asm.R0, 2_000_000, "again"),
				asm.Return(),
			},
			unix.E2BIG, "BPF program is too large. Processed 1000001 insn", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirectLoad(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{
				"prog": {Name: "prog", Type: ebpf.SocketFilter, License: "GPL", Instructions: test.insns},
			}}, []string{"prog"}, nil)
			_, err := d.Do(target.New())
			assert.ErrorIs(t, err, test.errno)
			var verifier *ebpf.VerifierError
			assert.Assert(t, errors.As(err, &verifier), "%v", err)
			log := strings.Join(verifier.Log, "\n")
			assert.Equal(t, bpfsys.LastLine(log), test.last, "%.2000s", log)
			assert.Equal(t, strings.Contains(log, "0: ("), test.instructions, "%.2000s", log)
		})
	}
}
