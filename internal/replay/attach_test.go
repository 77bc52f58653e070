package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

func attachPlan(t *testing.T, path string) *trace.Trace {
	t.Helper()
	obj, err := object.Open(path)
	assert.NilError(t, err)
	plan, err := trace.Plan(obj, trace.Options{Attach: true})
	assert.NilError(t, err)
	return plan
}

const enterObject = "../../selftests/bpf/prog_tp_btf.bpf.o"

// linksOf returns the types of links, by program, after checking which program each belongs to.
func linksOf(t *testing.T, r *target.Result) (types []uint32) {
	t.Helper()
	for i, fd := range r.Links {
		info, err := bpfsys.GetLinkInfo(fd)
		assert.NilError(t, err)
		prog, err := bpfsys.GetProgCounts(r.Programs[i])
		assert.NilError(t, err)
		assert.Equal(t, info.Program, prog.ID)
		types = append(types, info.Type)
	}
	return types
}

// counted returns what the programs of an object have counted in the first 8 bytes of .bss.
func counted(t *testing.T, a *artefact.Artefact, r *target.Result) uint64 {
	t.Helper()
	for i := range a.Maps {
		if a.Maps[i].Name == ".bss" {
			value := make([]byte, a.Maps[i].ValueSize)
			assert.NilError(t, bpfsys.LookupElem(r.Maps[i], make([]byte, 4), value))
			return binary.NativeEndian.Uint64(value)
		}
	}
	t.Fatal("no .bss")
	return 0
}

// TestAttach: a loader program makes the attachments of its trace, and the programs run. Close
// detaches them.
func TestAttach(t *testing.T) {
	need.BPF(t)
	keepsFDs(t)
	plan := attachPlan(t, enterObject)
	a, err := emit.Emit(plan)
	assert.NilError(t, err)
	file, err := a.MarshalBinary()
	assert.NilError(t, err)
	a, err = artefact.Parse(file)
	assert.NilError(t, err)
	traced, err := issue.Issue(plan, target.New(), target.Options{})
	var step *artefact.StepError
	if errors.As(err, &step) && errors.Is(err, unix.EPERM) {
		t.Skipf("this kernel has no trampolines: %v", err)
	}
	assert.NilError(t, err)
	want := linksOf(t, traced)
	assert.Assert(t, is.Len(want, 2))
	assert.Assert(t, counted(t, a, traced) > 0)
	traced.Close()

	load := func(o Options) {
		t.Helper()
		r, err := Load(a, o)
		assert.NilError(t, err)
		assert.DeepEqual(t, linksOf(t, r), want)
		before := counted(t, a, r)
		unix.Getppid()
		assert.Assert(t, counted(t, a, r) > before)
		r.Close()
	}
	load(Options{})
	if _, err := target.New().Contract(); err == nil {
		key := testkey.P256(t)
		assert.NilError(t, sign.Sign(a, key, key.Cert))
		load(Options{Keyring: ring(t, key.Cert.Raw)})
		t.Log("signed, too")
	}
}

// TestAttachNothing: if a program is refused, nothing is attached.
func TestAttachNothing(t *testing.T) {
	need.BPF(t)
	keepsFDs(t)
	a, err := emit.Emit(attachPlan(t, enterObject))
	assert.NilError(t, err)
	a.Blob = bytes.Clone(a.Blob)
	last := a.Programs[len(a.Programs)-1]
	binary.NativeEndian.PutUint32(a.Blob[last.Attr.Off+4:], 0) // insn_cnt
	r, err := newRun(a, Options{})
	assert.NilError(t, err)
	defer r.p.Close()
	_, err = r.once(nil, 0, nil)
	assert.ErrorContains(t, err, "program "+last.Name+": PROG_LOAD: ")
	assert.DeepEqual(t, r.links(), []int{0, 0})
	r.close()
	_, err = Load(a, Options{})
	assert.ErrorContains(t, err, "program "+last.Name+": PROG_LOAD: ")
}

// TestAttaches: a load attaches the programs whose section names a target and for which an fd is
// enough.
func TestAttaches(t *testing.T) {
	for name, want := range map[string][]string{
		"prog_fentry": {"before", "after"}, "prog_lsm": {"open", "committed_creds"}, "prog_iter": {"tasks", "all_maps"}, "prog_kprobe": nil, "prog_lsm_cgroup": nil,
		"prog_xdp": nil, "prog_raw_tp": nil, "freplace": nil,
	} {
		var got []string
		plan := attachPlan(t, "../../selftests/bpf/"+name+".bpf.o")
		for _, p := range plan.Programs {
			if p.Link != trace.NoFD {
				got = append(got, p.Name)
			}
		}
		assert.Check(t, is.DeepEqual(got, want), name)
	}
}
