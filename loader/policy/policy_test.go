package policy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// guest skips a test outside of a guest, because a policy affects the whole machine and other tests
// load programs at the same time, and on kernels that verify no signatures.
func guest(t *testing.T) {
	t.Helper()
	need.BPF(t)
	if os.Getenv(need.BPFEnv) != need.BPFMust {
		t.Skip("a policy is for the whole machine: needs a guest (" + need.BPFEnv + " is not " + need.BPFMust + ")")
	}
	_, err := target.New().Contract()
	var lacks *artefact.NeedError
	if errors.As(err, &lacks) {
		t.Skip(lacks)
	}
	assert.NilError(t, err)
}

func pinDir(t *testing.T) string {
	return filepath.Join("/sys/fs/bpf", "policy-"+t.Name())
}

func signed(t *testing.T, key testkey.Key) *artefact.Artefact {
	t.Helper()
	obj, err := object.Open("../../selftests/bpf/data_sections.bpf.o")
	assert.NilError(t, err)
	plan, err := trace.Plan(obj, trace.Options{})
	assert.NilError(t, err)
	a, err := emit.Emit(plan)
	assert.NilError(t, err)
	assert.NilError(t, sign.Sign(a, key, key.Cert))
	return a
}

func ring(t *testing.T, key testkey.Key) keyring.ID {
	t.Helper()
	r, err := keyring.New(key.Cert.Raw)
	assert.NilError(t, err)
	t.Cleanup(r.Close)
	return r.ID()
}

func load(a *artefact.Artefact, keyring string) error {
	r, err := replay.Load(a, replay.Options{Keyring: keyring})
	if err == nil {
		r.Close()
	}
	return err
}

// direct loads a program from user space.
func direct() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "direct", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err == nil {
		p.Close()
	}
	return err
}

func TestPolicy(t *testing.T) {
	guest(t)
	dir := pinDir(t)
	key, other := testkey.P256(t), testkey.P256(t)
	a, ours, theirs := signed(t, key), ring(t, key), ring(t, other)
	b := signed(t, other)

	// A policy that only logs refuses nothing.
	p, err := Load(dir, Options{Keyrings: []keyring.ID{ours}})
	assert.NilError(t, err)
	_, err = Load(dir, Options{})
	assert.ErrorContains(t, err, "remove that policy")
	assert.ErrorIs(t, p.Confirm(), ErrNotEnforcing)
	assert.NilError(t, direct())
	assert.NilError(t, load(a, ""))
	assert.NilError(t, load(a, ours.String()))
	assert.NilError(t, load(b, theirs.String()))
	check(t, p, false, map[string]string{"direct": whys[1], "__loader.prog": whys[1]}, whys[3])
	p.Close()
	assert.NilError(t, Remove(dir))
	_, err = os.Stat(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)

	// An enforcing policy admits a signed program and everything that it loads, and nothing else.
	p, err = Load(dir, Options{Keyrings: []keyring.ID{ours}, Enforce: time.Hour})
	assert.NilError(t, err)
	defer func() { assert.Check(t, Remove(dir)) }()
	defer p.Close()
	assert.ErrorIs(t, direct(), unix.EPERM)
	assert.ErrorIs(t, load(a, ""), unix.EPERM)
	assert.Error(t, load(a, ""), "loader program: PROG_LOAD: EPERM")
	assert.ErrorIs(t, load(b, theirs.String()), unix.EPERM)
	assert.ErrorContains(t, load(b, theirs.String()), "a security policy does not admit this one")
	assert.NilError(t, load(a, ours.String()))
	check(t, p, true, map[string]string{"direct": whys[1], "__loader.prog": whys[1]}, whys[3])
	counts, err := p.Counts()
	assert.NilError(t, err)
	assert.Assert(t, counts.Signed >= 1 && counts.ByProgram >= 1 && counts.Refused >= 3, "%+v", counts)
	ids, err := p.Keyrings()
	assert.NilError(t, err)
	assert.DeepEqual(t, ids, []keyring.ID{ours})
	m, err := p.Mode()
	assert.NilError(t, err)
	assert.Assert(t, m.Enforcing && m.Left > 0 && m.Left <= time.Hour)

	// It goes on if it is confirmed, and ends if not.
	assert.NilError(t, p.Confirm())
	m, err = p.Mode()
	assert.NilError(t, err)
	assert.DeepEqual(t, m, Mode{Enforcing: true})
	assert.ErrorIs(t, direct(), unix.EPERM)
	at, err := now()
	assert.NilError(t, err)
	assert.NilError(t, p.setConfig(true, at))
	m, err = p.Mode()
	assert.NilError(t, err)
	assert.DeepEqual(t, m, Mode{})
	assert.NilError(t, direct())
	assert.ErrorIs(t, p.Confirm(), ErrNotEnforcing)
}

// check reads the log: which programs were refused, why, and whether the policy enforced.
func check(t *testing.T, p *Policy, enforced bool, unsigned map[string]string, otherKey string) {
	t.Helper()
	all, err := p.Refusals()
	assert.NilError(t, err)
	for name, why := range unsigned {
		assert.Assert(t, slices.ContainsFunc(all, func(r Refusal) bool {
			return r.Program == name && r.Why == why && r.Enforced == enforced && int(r.PID) == os.Getpid() && r.Type != ""
		}), "%s: %s in %+v", name, why, all)
	}
	assert.Assert(t, slices.ContainsFunc(all, func(r Refusal) bool { return r.Why == otherKey && r.Keyring > 2 && r.Enforced == enforced }), "%+v", all)
	again, err := p.Refusals()
	assert.NilError(t, err)
	assert.Equal(t, len(again), 0)
}

func TestOptions(t *testing.T) {
	_, err := Load(t.TempDir(), Options{Keyrings: []keyring.ID{unix.KEY_SPEC_SESSION_KEYRING}})
	assert.ErrorContains(t, err, "name it by its serial, which")
	_, err = Load(t.TempDir(), Options{Enforce: -1})
	assert.ErrorContains(t, err, "cannot be enforced")
	_, err = Open(t.TempDir())
	assert.ErrorContains(t, err, "there is no policy in ")
	assert.ErrorContains(t, Remove(t.TempDir()), "there is no policy in ")
}
