package harness

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// RuleKnown explains the refusal of an object by an engine that is known to
// refuse it; the rules for states are in package state.
const RuleKnown = "known-refusal"

// ruleESRCH explains another errno for what the kernel does not have.
const ruleESRCH = "libbpf-esrch"

// ruleWords explains other words for the same.
const ruleWords = "log-words"

// inventsESRCH says whether libbpf answers ESRCH where the other engine passes on
// the kernel's ENOENT.
func inventsESRCH(l, other *agent.Load) bool {
	libbpf := l.Engine == state.EngineLibbpf || l.Engine == state.EngineLibbpfLight
	return libbpf && l.Errno == "ESRCH" && other.Errno == "ENOENT"
}

// Fields of loads that are compared before there is a state.
const (
	fieldLoad  = "load"
	fieldErrno = "load errno"
	fieldLog   = "load log"
)

// ruleFields are the fields that a rule is about.
func ruleFields(id string) []string {
	switch id {
	case RuleKnown:
		return []string{fieldLoad, fieldErrno, fieldLog}
	case ruleESRCH:
		return []string{fieldErrno}
	case ruleWords:
		return []string{fieldLog}
	}
	r, _ := state.FindRule(id)
	return r.Fields
}

// RuleReason is the reason of a rule for explained differences.
func RuleReason(id string) string {
	if id == RuleKnown {
		return "the suite says why this engine refuses the object"
	}
	if id == ruleESRCH {
		return "libbpf itself answers ESRCH where it finds no such name in the kernel; a lookup by the kernel answers ENOENT"
	}
	if id == ruleWords {
		return "engines put different numbers in the place of what the kernel lacks, and libbpf rewrites what the verifier says of it"
	}
	return state.Reason(id)
}

func (j *judge) refusals(c *Case, a, b *agent.Load) []state.Difference {
	out := []state.Difference{}
	if a.Result != b.Result {
		d := state.Difference{Field: fieldLoad, A: outcome(a), B: outcome(b)}
		for _, l := range []*agent.Load{a, b} {
			if reason, ok := c.Known[l.Engine]; ok && l.Result == agent.Refused {
				d.ExplainedBy, d.Detail = RuleKnown, reason
			}
			if reason := knownReason(l); reason != "" && c.Expect.Result == anyResult {
				d.ExplainedBy, d.Detail = RuleKnown, reason
			}
		}
		return append(out, d)
	}
	why, detail := "", ""
	for _, l := range []*agent.Load{a, b} {
		if reason := knownReason(l); reason != "" && c.Expect.Result == anyResult {
			why, detail = RuleKnown, reason
		}
	}
	if a.Errno != b.Errno && a.Errno != "" && b.Errno != "" {
		d := state.Difference{Field: fieldErrno, A: a.Errno, B: b.Errno, ExplainedBy: why, Detail: detail}
		if inventsESRCH(a, b) || inventsESRCH(b, a) {
			d.ExplainedBy = ruleESRCH
		}
		out = append(out, d)
	}
	if x, y := lastLine(a.Log), lastLine(b.Log); x != y && x != "" && y != "" {
		d := state.Difference{Field: fieldLog, A: x, B: y, ExplainedBy: why, Detail: detail}
		if sameSaid(x, y) {
			d.ExplainedBy, d.Detail = ruleWords, ""
		}
		out = append(out, d)
	}
	return out
}

// statistics are what the verifier ends a log with, whatever it has found.
var statistics = regexp.MustCompile(`^(processed \d+ insns|verification time|stack depth|insns processed|max_states)`)

// lastLine is the last line of a verifier's log that says what is wrong.
func lastLine(log string) string {
	for _, line := range slices.Backward(strings.Split(log, "\n")) {
		line = strings.TrimSpace(line)
		if line != "" && !statistics.MatchString(line) {
			return line
		}
	}
	return ""
}
