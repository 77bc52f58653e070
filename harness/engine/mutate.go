package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
)

// broken makes a loader program that a mutation has changed.
func broken(o *object.Object, m *mutate.Mutation) (Load, error) {
	p, _, err := m.Generate(o)
	if err != nil {
		return nil, err
	}
	if m.Kind() == mutate.OfLoader {
		return asIs{replayLoad{p}}, nil
	}
	return replayLoad{p}, nil
}

// asIs is a loader program that is run as it is: the runtime makes another
// where the target decides something, and for the verifier's log, and what was
// changed in this one would be lost.
type asIs struct{ replayLoad }

func (l asIs) Do(*target.Target) (*Loaded, error) {
	t := l.p.Trace
	raw := loader.Raw{Insns: l.p.Insns, Blob: l.p.Blob, Maps: len(t.Maps), Programs: len(t.Programs)}
	fds, err := raw.Run(loader.Inputs{})
	var failed *loader.RunError
	if errors.As(err, &failed) && len(failed.Blob) >= 4 {
		if step := binary.LittleEndian.Uint32(failed.Blob); int(step) < len(t.Commands) {
			return nil, t.Fail(int(step), failed.Err, failed.Log)
		}
		return nil, fmt.Errorf("a step that is not in the trace: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return loaded(t, fds.Maps, fds.Programs, fds.Close), nil
}
