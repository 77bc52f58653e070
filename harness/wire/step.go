package wire

import (
	"fmt"
	"slices"
	"strings"
)

// Message is what the agent sends about a request: any number of steps, then the answer.
type Message struct {
	Step   *Step   `json:"step,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
}

// Step is what the agent begins to do. What is done for no engine has none.
type Step struct {
	Engine string `json:"engine,omitempty"`
	Phase  Phase  `json:"phase,omitempty"`
}

func (s Step) String() string {
	var parts []string
	if s.Engine != "" {
		parts = append(parts, "engine "+s.Engine)
	}
	if s.Phase != "" {
		parts = append(parts, "phase "+string(s.Phase))
	}
	return strings.Join(parts, ", ")
}

var phases = []Phase{PhaseOpen, PhaseLoad, PhaseCapture, PhaseExercise, PhaseRepeat, PhaseFree}

// Check returns an error if a message does not fit its request, a Case or Leaks. The peer is not
// trusted.
func (m *Message) Check(req *Request) error {
	switch s := m.Step; {
	case (s == nil) == (m.Answer == nil):
		return fmt.Errorf("%w: neither a step nor an answer", ErrProtocol)
	case s == nil:
		return m.Answer.Check(req)
	case s.Engine != "" && (req.Case == nil || !slices.Contains(req.Case.Engines, s.Engine)) || !slices.Contains(phases, s.Phase):
		return fmt.Errorf("%w: step %.60q of engine %.60q", ErrProtocol, s.Phase, s.Engine)
	}
	return nil
}
