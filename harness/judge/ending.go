package judge

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Rules for the outcome of loads. Rules for states are in package compare.
const (
	ruleESRCH = "libbpf-esrch" // libbpf's errno for something that the kernel lacks
	ruleWords = "log-words"    // different messages with the same meaning
	ruleZero  = "kfunc-zero"   // the verifier's message after a call of kfunc id 0
)

// loadRules has the fields and the reason of each of these rules.
var loadRules = map[string]struct {
	fields []field.Aspect
	reason string
}{
	result.RuleKnown: {[]field.Aspect{result.FieldLoad.Aspect, result.FieldErrno.Aspect, result.FieldLog.Aspect}, "an engine is known to refuse the object: the suite says so, or the error is one of those that bpfreplay knows"},
	ruleESRCH:        {[]field.Aspect{result.FieldErrno.Aspect}, "libbpf itself answers ESRCH where it finds no such name in the kernel; a lookup by the kernel answers ENOENT"},
	ruleWords:        {[]field.Aspect{result.FieldLog.Aspect}, "engines put different numbers in the place of what the kernel lacks, and libbpf rewrites what the verifier says of it"},
	ruleZero: {[]field.Aspect{result.FieldErrno.Aspect, result.FieldLog.Aspect}, "libbpf's loader programs put id 0 into the call of a weak kfunc that does not exist; the verifier passes over it, " +
		"and stumbles over what should have come of the call"},
}

// inventsESRCH reports whether libbpf returns ESRCH where the other engine returns the kernel's
// ENOENT.
func inventsESRCH(l, other *wire.Load) bool {
	return enginename.IsLibbpf(l.Engine) && l.Errno == "ESRCH" && other.Errno == "ENOENT"
}

// Fields returns the fields that a rule may explain, and nil for an unknown rule.
func Fields(id string) []field.Aspect {
	if r, ok := loadRules[id]; ok {
		return r.fields
	}
	r, _ := compare.FindRule(id)
	return r.Fields
}

// Reason returns the reasons of the rules with these IDs, separated by semicolons.
func Reason(ids ...string) string {
	if len(ids) == 1 {
		if r, ok := loadRules[ids[0]]; ok {
			return r.reason
		}
	}
	return compare.Reason(ids...)
}

// rule returns the ID as a list, which is nil if the ID is empty.
func rule(id string) compare.RuleIDs {
	if id == "" {
		return nil
	}
	return compare.RuleIDs{id}
}

func (j *Judge) refusals(c *suite.Case, a, b *wire.Load) []compare.Difference {
	out := []compare.Difference{}
	why, detail := j.known(c, a, b)
	if a.Result != b.Result {
		return append(out, compare.Difference{Field: result.FieldLoad, A: Outcome(a), B: Outcome(b), ExplainedBy: rule(why), Detail: detail})
	}
	if why == "" && (callsZero(a, b) || callsZero(b, a)) {
		why = ruleZero
	}
	if a.Errno != b.Errno && a.Errno != "" && b.Errno != "" {
		d := compare.Difference{Field: result.FieldErrno, A: a.Errno, B: b.Errno, ExplainedBy: rule(why), Detail: detail}
		if inventsESRCH(a, b) || inventsESRCH(b, a) {
			d.ExplainedBy = rule(ruleESRCH)
		}
		out = append(out, d)
	}
	if x, y := bpfsys.LastLine(a.Log), bpfsys.LastLine(b.Log); x != y && x != "" && y != "" {
		d := compare.Difference{Field: result.FieldLog, A: x, B: y, ExplainedBy: rule(why), Detail: detail}
		if sameSaid(x, y) && !(enginename.Ours(a.Engine) && enginename.Ours(b.Engine)) {
			d.ExplainedBy, d.Detail = rule(ruleWords), ""
		}
		out = append(out, d)
	}
	return out
}

// known returns the rule that explains why one of two engines refuses the object, and the reason.
// In a strict pair only libbpf's refusals count.
func (j *Judge) known(c *suite.Case, a, b *wire.Load) (rule, reason string) {
	for _, pair := range [][2]*wire.Load{{a, b}, {b, a}} {
		l := pair[0]
		if l.Result != wire.Refused || enginename.Strict(a.Engine, b.Engine) && enginename.Ours(l.Engine) {
			continue
		}
		if reason, ok := c.Known[l.Engine]; ok && (a.Result != b.Result || c.Expect.Result == wire.OK) {
			return result.RuleKnown, reason
		}
		if reason := j.knownReason(l, pair[1]); reason != "" && (c.Others() || dependsOnRelease(l)) {
			return result.RuleKnown, reason
		}
	}
	if c.Others() && !enginename.Strict(a.Engine, b.Engine) && (j.sizedRing(a) || j.sizedRing(b)) {
		return result.RuleKnown, "cilium/ebpf v0.22.0 leaves out the type of values of ring buffers and perf event arrays, others pass its size on, which the kernel refuses"
	}
	return "", ""
}

// sizedRing reports whether a load failed because of the key and value sizes of a ring buffer or
// perf event array.
func (j *Judge) sizedRing(l *wire.Load) bool {
	return j.facts != nil && l.Result == wire.Refused && l.Errno == unix.ErrnoName(unix.EINVAL) && slices.ContainsFunc(j.facts.SizedRings, func(name string) bool {
		return strings.Contains(l.Detail, "map "+name+": MAP_CREATE: EINVAL") || strings.Contains(l.Detail, "map '"+name+"': failed to create")
	})
}

// callsZero reports whether l is a load by libbpf's loader program, and the other engine failed on
// a missing kfunc.
func callsZero(l, other *wire.Load) bool {
	return l.Engine == enginename.LibbpfLight && other.Engine != l.Engine && missingKfunc.MatchString(bpfsys.LastLine(other.Log))
}
