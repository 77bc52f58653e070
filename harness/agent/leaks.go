package agent

import (
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// pending are the objects that the engines created for one request and that the kernel may not have
// freed yet. Ids identify them: the kernel assigns ids in sequence and wraps around only after
// 2^31.
type pending struct {
	name string // of the request
	made map[string]ids
}

// manyPending is how many requests may have unfreed objects at the same time. The objects use
// memory until they are freed.
const manyPending = 16

// deferLeakCheck leaves it to checkLeaks to wait until the objects are freed. Once many requests
// are pending, it forgets what is already freed.
func (s *Server) deferLeakCheck(name string, made map[string]ids) error {
	s.pending = append(s.pending, pending{name, made})
	if len(s.pending) < manyPending {
		return nil
	}
	return s.forgetFreed()
}

// forgetFreed forgets the objects that the kernel has freed.
func (s *Server) forgetFreed() error {
	now, err := allIDs()
	if err != nil {
		return err
	}
	var rest []pending
	for _, p := range s.pending {
		left := make(map[string]ids)
		for engine, m := range p.made {
			if both := m.and(now); len(both) > 0 {
				left[engine] = both
			}
		}
		if len(left) > 0 {
			rest = append(rest, pending{p.name, left})
		}
	}
	s.pending = rest
	return nil
}

// checkLeaks waits until the kernel has freed everything that deferLeakCheck was told of. The
// answer lists what is left.
func (s *Server) checkLeaks(name string) (*wire.Answer, error) {
	all := make(map[string]ids) // by request and engine
	for _, p := range s.pending {
		for engine, m := range p.made {
			all[p.name+separator+engine] = m
		}
	}
	left, err := waitFreed(all)
	if err != nil {
		return nil, err
	}
	a := &wire.Answer{Name: name, Loads: []wire.Load{}}
	for _, p := range s.pending {
		for engine := range p.made {
			for _, what := range left[p.name+separator+engine] {
				a.Late = append(a.Late, wire.Leak{Case: p.name, Engine: engine, What: what})
			}
		}
	}
	s.pending = nil
	return a, nil
}

const separator = "\x00"
