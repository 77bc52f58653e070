package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// TestSignedIsReplay: the engine signs what gen writes, for all contracts. The test lists the
// objects of the core suite that it cannot sign.
func TestSignedIsReplay(t *testing.T) {
	files, err := filepath.Glob("../../selftests/bpf/*.bpf.o")
	assert.NilError(t, err)
	unsupported := make(map[string]string)
	same := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		assert.NilError(t, err)
		name := strings.TrimSuffix(filepath.Base(file), ".bpf.o")
		replay, refused := byName(t, "replay", Tool{}).Open(Object{Name: filepath.Base(file), Data: data})
		ready, err := byName(t, "signed", Tool{}).Open(Object{Name: filepath.Base(file), Data: data})
		switch {
		case refused != nil:
			assert.Error(t, err, refused.Error(), name)
			continue
		case errors.Is(err, ErrCannot):
			assert.ErrorIs(t, err, sign.ErrUnsignable)
			unsupported[name] = strings.TrimPrefix(err.Error(), ErrCannot.Error()+": ")
			continue
		}
		assert.NilError(t, err, name)
		l := ready.(*signedLoad)
		assert.Assert(t, is.Len(l.a.Signed.List, len(contract.All)), name)
		assert.Assert(t, is.Contains(l.Needs(), target.NeedSigned), name)
		unsigned := *l.a
		unsigned.Signed = nil
		want, err := replay.(replayedLoad).a.MarshalBinary()
		assert.NilError(t, err)
		got, err := unsigned.MarshalBinary()
		assert.NilError(t, err)
		assert.Assert(t, string(got) == string(want), "%s: what is signed is not what gen writes", name)
		same++
	}
	assert.Assert(t, same > 100, "%d", same)
	for name, why := range map[string]string{
		"arena_pages": "arena arena: ", "kconfig_version": "LINUX_KERNEL_VERSION: ", "kconfig_programs": "LINUX_KERNEL_VERSION: ",
		"freplace": "program ", "struct_ops_two": "member init of struct tcp_congestion_ops: ",
	} {
		assert.Check(t, strings.HasPrefix(unsupported[name], why), "%s: %s", name, unsupported[name])
		delete(unsupported, name)
	}
	assert.Check(t, is.Len(unsupported, 0), "objects that cannot be signed any more")
}

// TestSignedNeedsTheKernel: on a kernel that does not verify signatures, the error names the
// capability.
func TestSignedNeedsTheKernel(t *testing.T) {
	need.BPF(t)
	if _, err := target.New().Contract(); err == nil {
		t.Skip("this kernel verifies signatures")
	}
	ready, err := byName(t, "signed", Tool{}).Open(coreObject(t, "data_sections"))
	assert.NilError(t, err)
	_, _, err = Time(ready, target.New())
	var lacks *artefact.NeedError
	assert.Assert(t, errors.As(err, &lacks), "%v", err)
	assert.Equal(t, lacks.Need.Capability, target.NeedSigned)
}
