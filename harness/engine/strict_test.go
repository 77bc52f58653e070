package engine

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// TestStrictAlignment: loader programs access memory aligned, as kernels for processors without
// fast unaligned access require (riscv64). Every kernel checks that with BPF_F_STRICT_ALIGNMENT.
func TestStrictAlignment(t *testing.T) {
	need.BPF(t)
	files, err := filepath.Glob("../../selftests/bpf/*.bpf.o")
	assert.NilError(t, err)
	loaded := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		assert.NilError(t, err)
		ready, refused := byName(t, "replay", Tool{}).Open(Object{Name: filepath.Base(file), Data: data})
		if refused != nil {
			continue
		}
		a := ready.(replayedLoad).a
		fd, _, err := bpfsys.NewBlob(a.Blob)
		assert.NilError(t, err, file)
		strict := func(flags uint32) error {
			var m bpfsys.Memory
			defer m.Release()
			attr := bpfsys.ProgLoadAttr{
				Type: uapi.ProgSyscall, Insns: m.At(a.Insns), InsnCount: uint32(len(a.Insns) / 8), License: m.String("Dual BSD/GPL"),
				Flags: unix.BPF_F_SLEEPABLE | flags, FDArray: m.At([]byte{byte(fd), byte(fd >> 8), 0, 0}),
			}
			prog, err := bpfsys.Call(bpfsys.ProgLoad, &attr)
			if err == nil {
				bpfsys.Close(prog)
			}
			return err
		}
		if strict(0) == nil { // this kernel can load it at all
			assert.NilError(t, strict(unix.BPF_F_STRICT_ALIGNMENT), file)
			loaded++
		}
		bpfsys.Close(fd)
	}
	assert.Assert(t, loaded > 50, "%d", loaded)
}
