package run

import (
	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// LoadReport converts a load to the form in the report.
func LoadReport(l *wire.Load) result.LoadReport {
	out := result.LoadReport{Engine: l.Engine, Result: l.Result, Errno: l.Errno, Detail: l.Detail, Missing: l.Missing, Log: l.Log, Leaks: l.Leaks, Opened: l.Opened}
	if l.Overdue {
		out.Detail += "; " + longer
	}
	if out.Samples = len(l.Samples); out.Samples > 0 {
		out.Effects, out.Noise = l.Samples[0].Text(), effects.Noise(l.Samples)
	}
	for i, ns := range l.Nanoseconds {
		if i == 0 || ns < out.Nanoseconds {
			out.Nanoseconds = ns
		}
	}
	return out
}

// spend adds the times of an answer to the phases.
func spend(s *result.Seconds, a *wire.Answer) {
	if s.Phases == nil {
		s.Phases = make(map[string]float64)
	}
	for i := range a.Loads {
		for phase, ns := range a.Loads[i].Spent {
			name := string(phase)
			if phase == wire.PhaseLoad {
				name += " " + a.Loads[i].Engine
			}
			s.Phases[name] += float64(ns) / 1e9
		}
	}
	s.Phases[string(wire.PhaseFree)] += float64(a.Freeing) / 1e9
}
