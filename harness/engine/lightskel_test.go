package engine

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/skelprog"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// TestSkeletons: skeletons leave the same state on this machine's kernel as a trace, and fail with
// the same errors as a replay.
func TestSkeletons(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	need.Program(t, "go")
	need.Program(t, "cc")
	loads := []string{"data_sections", "maps_many", "maps_only", "prog_tc", "core_field"}
	var objects []skelprog.Object
	for _, name := range append(loads, "fail_verifier") {
		o := coreObject(t, name)
		objects = append(objects, skelprog.Object{Name: o.Name, Data: o.Data})
	}
	tool := Tool{Skeletons: t.TempDir()}
	for _, name := range []string{enginename.SkelGo, enginename.SkelC} {
		_, err := skelprog.Build(context.Background(), name, "", tool.Skeletons, objects)
		assert.NilError(t, err)
		e := byName(t, name, tool)
		for _, object := range loads {
			t.Run(name+" "+object, func(t *testing.T) {
				want := load(t, byName(t, enginename.Trace, Tool{}), coreObject(t, object))
				fds := len(openfds.List())
				got := load(t, e, coreObject(t, object))
				assert.Equal(t, len(openfds.List()), fds)
				assert.Equal(t, len(got.Maps)+len(got.Programs), len(want.Maps)+len(want.Programs))
				for _, d := range compare.States(want, got, compare.Context{}, compare.Context{}) {
					t.Errorf("%s: trace %s, %s %s", d.Field, d.A, name, d.B)
				}
			})
		}
		t.Run(name+" fails", func(t *testing.T) {
			said := func(e Engine) *artefact.StepError {
				ready, err := e.Open(coreObject(t, "fail_verifier"))
				assert.NilError(t, err)
				fds := len(openfds.List())
				_, err = ready.Do(target.New())
				assert.Equal(t, len(openfds.List()), fds)
				var step *artefact.StepError
				assert.Assert(t, errors.As(err, &step), "%v", err)
				return step
			}
			got, want := said(e), said(byName(t, enginename.Replay, Tool{}))
			assert.Equal(t, got.Error(), want.Error())
			assert.Assert(t, errors.Is(got, unix.EACCES))
			assert.Assert(t, got.Log != "")
		})
		t.Run(name+" of another run", func(t *testing.T) {
			ready, err := e.Open(coreObject(t, "maps_array"))
			assert.NilError(t, err)
			_, err = ready.Do(target.New())
			assert.Assert(t, errors.Is(err, ErrEngine), "%v", err)
		})
	}
}
