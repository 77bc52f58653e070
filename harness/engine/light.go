package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/loader"
)

// btfLog begins the log of the object's types. It is the last one if a step of
// libbpf's loader program failed that has none, and says nothing about it.
const btfLog = "magic: 0x"

// runLight runs libbpf's loader program with the runtime that ours has. The fds
// that it returns are in the order of the skeleton. A run that fails is
// repeated for the verifier's log.
func runLight(s *skeleton) (*loader.FDs, error) {
	raw := loader.Raw{Insns: s.insns, Blob: s.blob, Maps: len(s.maps), Programs: len(s.programs)}
	in := loader.Inputs{Values: s.initialValues()}
	fds, err := raw.Run(in)
	var first, again *loader.RunError
	if !errors.As(err, &first) {
		return fds, err
	}
	if first.Blob != nil { // a step of it failed
		in.LogLevel = 1
		if fds, err = raw.Run(in); !errors.As(err, &again) {
			return fds, err
		}
		again.Err = first.Err // a log that does not fit makes ENOSPC of whatever it was
		if strings.HasPrefix(again.Log, btfLog) {
			again.Log = ""
		}
	}
	return nil, fmt.Errorf("libbpf's %w", err)
}

// initialValues are the initial values of data sections, by map.
func (s *skeleton) initialValues() [][]byte {
	values := make([][]byte, len(s.maps))
	for i, name := range s.maps {
		if v, ok := s.values[name]; ok && v.size > 0 {
			values[i] = make([]byte, v.size)
			copy(values[i], v.data)
		}
	}
	return values
}
