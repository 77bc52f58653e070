package agent

import (
	"runtime"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// pending is what the engines made for one request and the kernel may not have
// freed yet. Its ids tell it apart from what others made: the kernel gives out
// the next id each time, and begins again behind 2^31 of them only.
type pending struct {
	name string // of the request
	made map[string]ids
}

// manyPending is for how many requests what they made may be waited for at once:
// it takes memory as long as it is there.
const manyPending = 16

// postpone leaves it to settle to see whether what was made is freed. What is, is
// forgotten now.
func (s *Server) postpone(name string, made map[string]ids) error {
	s.pending = append(s.pending, pending{name, made})
	if len(s.pending) < manyPending {
		return nil
	}
	// cilium/ebpf maps the values of data sections and leaves it to the garbage
	// collector to unmap them.
	runtime.GC()
	return s.forgetFreed()
}

// forgetFreed forgets what the kernel has freed.
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

// settle waits until all is freed that was made since the last time, and says what
// is not.
func (s *Server) settle(name string) (*wire.Answer, error) {
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
