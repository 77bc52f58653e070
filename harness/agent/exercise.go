package agent

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/exercise"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// exercises runs the programs of one request's loads with the help of package exercise.
type exercises struct {
	server *Server
	req    *wire.CaseRequest
	plan   *exercise.Plan
	again  map[string]engine.Load // the load to repeat, by engine
}

// exercise plans what to do with the loads of a request. The plan is empty if our reader refuses
// the object.
func (s *Server) exercise(req *wire.CaseRequest) (*exercises, error) {
	x := &exercises{server: s, req: req, plan: &exercise.Plan{}, again: make(map[string]engine.Load)}
	if !req.Exercise {
		return x, nil
	}
	o, err := object.OpenReader(bytes.NewReader(req.Object), int64(len(req.Object)), req.File)
	if err != nil {
		return x, nil
	}
	hasInput := func(program string) bool {
		return slices.ContainsFunc(req.Runs, func(r wire.Run) bool { return r.Program == program })
	}
	x.plan = exercise.PlanOf(o, hasInput, func(name string) bool { return slices.Contains(req.Skip, name) })
	if !x.plan.Empty() && s.guest == nil {
		if s.guest, err = exercise.NewSandbox(s.target.Vmlinux); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// first takes the first sample of a load, after the runs that the case asks for.
func (x *exercises) first(ctx context.Context, l *wire.Load, ready engine.Load, loaded *engine.Loaded) error {
	if x.plan.Empty() {
		return nil
	}
	before := l.State
	if l.After != nil {
		before = l.After
	}
	sample, err := x.sample(ctx, before, loaded)
	if err != nil {
		return err
	}
	x.again[l.Engine] = ready
	l.Samples = []effects.Sample{sample}
	return nil
}

func (x *exercises) sample(ctx context.Context, before *state.State, loaded *engine.Loaded) (effects.Sample, error) {
	sample := x.server.guest.Run(x.plan, loaded.Maps, loaded.Programs)
	after, err := state.Reread(ctx, before, loaded.Maps, loaded.Programs, x.server.kernel)
	if err != nil {
		return nil, err
	}
	exercise.Changes(sample, before, after)
	return sample, nil
}

// repeatUntilAgreed repeats all loads if the effects of one differ from those of the first, to tell
// noise from a difference. All loads are repeated because any two of them may be compared. Before
// each repetition it waits until earlier loads have been freed, if they can be, because a program
// may see them, such as an iterator over all maps.
func (x *exercises) repeatUntilAgreed(loads []wire.Load, made map[string]ids) error {
	first := slices.IndexFunc(loads, sampled)
	if first < 0 {
		return nil
	}
	differs := func(l *wire.Load) bool {
		return sampled(*l) && len(effects.Compare(loads[first].Samples, l.Samples)) > 0
	}
	gone := true
	for range effects.Rounds {
		if !slices.ContainsFunc(loads, func(l wire.Load) bool { return differs(&l) }) {
			break
		}
		for i := range loads {
			l := &loads[i]
			if !sampled(*l) {
				continue
			}
			end := x.server.begin(l, wire.PhaseRepeat)
			if gone {
				left, err := waitFreed(made)
				if err != nil {
					return err
				}
				gone = len(left) == 0
			}
			if err := watch(made, l, func() { x.repeat(l) }); err != nil {
				return err
			}
			end()
		}
	}
	return nil
}

func sampled(l wire.Load) bool { return l.Result == wire.OK && len(l.Samples) > 0 }

// repeat loads the object again and takes another sample.
func (x *exercises) repeat(l *wire.Load) {
	loaded, _, err := engine.Time(x.again[l.Engine], x.server.target)
	if err != nil {
		broken(l, fmt.Errorf("loaded once, but not again: %w", err))
		return
	}
	defer loaded.Close()
	ctx := context.Background()
	runAll(x.req.Runs, loaded.Programs)
	before, err := state.Reread(ctx, l.State, loaded.Maps, loaded.Programs, x.server.kernel)
	if err != nil {
		broken(l, err)
		return
	}
	sample, err := x.sample(ctx, before, loaded)
	if err != nil {
		broken(l, err)
		return
	}
	l.Samples = append(l.Samples, sample)
}
