package engine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// TestDirectLog: the error has the verifier's log of the program, with its instructions. It does
// not have the million lines of a program that is too complex.
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

// TestAttachFails: a load with links that runs out of file descriptors, at any point, closes those
// that it has opened.
func TestAttachFails(t *testing.T) {
	need.BPF(t)
	data, err := os.ReadFile("../../selftests/bpf/prog_iter.bpf.o")
	assert.NilError(t, err)
	var all unix.Rlimit
	assert.NilError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &all))
	restore := func() { assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &all)) }
	defer restore()
	load := func(fds uint64) (*Loaded, error) {
		l, err := direct{}.Open(Object{Name: "prog_iter.bpf.o", Data: data, Attach: true})
		assert.NilError(t, err)
		if fds > 0 {
			assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: fds, Max: all.Max}))
			defer restore()
		}
		return l.Do(target.New())
	}
	loaded, err := load(0) // the library keeps what it finds out about the kernel
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("this kernel has no iterators: ", err)
	}
	assert.NilError(t, err)
	assert.Assert(t, len(loaded.Links) > 1)
	loaded.Close()

	attached := 0
	before := openfds.List()
	for fds := uint64(len(before)); ; fds++ {
		loaded, err := load(fds)
		if err == nil {
			loaded.Close()
			break
		}
		assert.DeepEqual(t, openfds.List(), before) // whatever the library makes of EMFILE
		if strings.Contains(err.Error(), "attach:") {
			attached++
		}
	}
	assert.Assert(t, attached > 1)
}
