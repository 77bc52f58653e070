package target

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// TestProbes compares each probe's result with the release that introduced the capability,
// according to kernels.yaml.
func TestProbes(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	here, err := KernelVersion()
	assert.NilError(t, err)
	since := map[string]uint32{
		artefact.NeedCORE: 5<<16 | 17<<8, artefact.NeedEnum64: 6 << 16, artefact.NeedTypeMatch: 6 << 16,
		artefact.NeedKallsyms: 5<<16 | 16<<8, artefact.NeedNoFuncInfo: 7<<16 | 3<<8,
	}
	assert.Equal(t, len(since), len(needs), "each probe has a release")
	for capability, first := range since {
		err := Probe(capability)
		assert.Check(t, !errors.Is(err, ErrUnknown), "%s: %v", capability, err)
		assert.Check(t, (err == nil) == (here >= first), "%s on %d.%d: %v", capability, here>>16, here>>8&0xff, err)
	}
	err = ProbeSyscall()
	assert.Check(t, (err == nil) == (here >= 5<<16|14<<8), "%v", err)
}

func TestCheck(t *testing.T) {
	_, unknown := needs["no_such"]
	assert.Assert(t, !unknown)
	lacks := &Target{needs: map[string]error{"there": nil, "missing": unix.EINVAL}}
	assert.NilError(t, lacks.Check([]artefact.Need{{Capability: "there", Why: "a"}}))
	for _, capability := range []string{"missing", "no_such"} {
		err := lacks.Check([]artefact.Need{{Capability: "there", Why: "a"}, {Capability: capability, Why: "program p: that"}})
		var n *artefact.NeedError
		assert.Assert(t, errors.As(err, &n), "%v", err)
		assert.Equal(t, n.Capability, capability)
		assert.ErrorContains(t, err, "this kernel lacks "+capability+", which program p: that needs: ")
	}
}

// TestProbed: errors that say nothing about the kernel are not an answer.
func TestProbed(t *testing.T) {
	assert.NilError(t, probed("this", nil))
	for errno, want := range map[unix.Errno]bool{
		unix.EINVAL: false, unix.E2BIG: false, unix.EACCES: false, unix.EMFILE: true, unix.ENFILE: true, unix.ENOMEM: true, unix.EPERM: true,
	} {
		err := probed("this", errno)
		assert.ErrorIs(t, err, errno)
		assert.ErrorContains(t, err, "this: ")
		assert.Equal(t, errors.Is(err, ErrUnknown), want, "%v", err)
		tg := &Target{}
		found, err := tg.has(&tg.farValues, func() (bool, error) { return false, unknown("this", errno) })
		assert.Assert(t, !found)
		assert.Equal(t, err != nil, want)
		assert.Equal(t, tg.farValues == nil, want, "what could not be told is kept")
	}
}
