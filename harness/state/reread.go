package state

import (
	"context"
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Reread reads the contents of maps again, and copies everything else from an earlier capture: only
// values can have changed since. Maps without a handle are omitted.
func Reread(ctx context.Context, earlier *State, maps, programs []Handle, k *Kernel) (*State, error) {
	c := newCapturer(k)
	c.state.CPUs = earlier.CPUs
	defer k.stopPeek()
	if err := c.reread(ctx, earlier, maps, programs); err != nil {
		return nil, fmt.Errorf("capture contents: %w", err)
	}
	return c.state, nil
}

func (c *capturer) reread(ctx context.Context, earlier *State, maps, programs []Handle) error {
	if !slices.ContainsFunc(earlier.Maps, func(m Map) bool { return m.Type == uapi.MapProgArray || m.Type == uapi.MapStructOps }) {
		programs = nil // no element can hold one
	}
	if _, err := c.identify(ctx, maps, programs); err != nil {
		return err
	}
	out := &State{CPUs: earlier.CPUs}
	for _, h := range maps {
		m := earlier.FindMap(h.Name)
		if m == nil {
			continue
		}
		again := *m
		again.Types = nil // they are in the earlier state
		var err error
		if again.Contents, err = c.contents(&again, h.FD); err != nil {
			return fmt.Errorf("map %s: %w", h.Name, err)
		}
		out.Maps = append(out.Maps, again)
	}
	out.Maps = append(out.Maps, c.state.Maps...) // inner maps
	out.Types = c.state.Types
	c.state = out
	c.finish()
	return nil
}
