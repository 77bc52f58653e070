package judge

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Rules for how loads end; those for states are in package state.
const (
	ruleESRCH = "libbpf-esrch" // another errno for what the kernel does not have
	ruleWords = "log-words"    // other words for the same
	ruleZero  = "kfunc-zero"   // what comes of a call of nothing
)

// loadRules are the fields that these rules are about, and their reasons.
var loadRules = map[string]struct {
	fields []field.Aspect
	reason string
}{
	result.RuleKnown: {[]field.Aspect{result.FieldLoad.Aspect, result.FieldErrno.Aspect, result.FieldLog.Aspect}, "the suite says why this engine refuses the object"},
	ruleESRCH:        {[]field.Aspect{result.FieldErrno.Aspect}, "libbpf itself answers ESRCH where it finds no such name in the kernel; a lookup by the kernel answers ENOENT"},
	ruleWords:        {[]field.Aspect{result.FieldLog.Aspect}, "engines put different numbers in the place of what the kernel lacks, and libbpf rewrites what the verifier says of it"},
	ruleZero: {[]field.Aspect{result.FieldErrno.Aspect, result.FieldLog.Aspect}, "libbpf's loader programs put id 0 into the call of a weak kfunc that does not exist; the verifier passes over it, " +
		"and stumbles over what should have come of the call"},
}

// inventsESRCH reports whether libbpf answers ESRCH where the other engine passes on
// the kernel's ENOENT.
func inventsESRCH(l, other *wire.Load) bool {
	libbpf := l.Engine == enginename.Libbpf || l.Engine == enginename.LibbpfLight
	return libbpf && l.Errno == "ESRCH" && other.Errno == "ENOENT"
}

// Fields are the fields that a rule is about.
func Fields(id string) []field.Aspect {
	if r, ok := loadRules[id]; ok {
		return r.fields
	}
	r, _ := compare.FindRule(id)
	return r.Fields
}

// Reason is why rules for explained differences explain one.
func Reason(ids ...string) string {
	if len(ids) == 1 {
		if r, ok := loadRules[ids[0]]; ok {
			return r.reason
		}
	}
	return compare.Reason(ids...)
}

// rule is that one, or none.
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

// known is the rule that explains a refusal by one of two engines, with its reason. Between
// two engines of ours there is none, and where cilium/ebpf is not one of them only what
// libbpf is known to refuse counts.
func (j *Judge) known(c *suite.Case, a, b *wire.Load) (rule, reason string) {
	for _, l := range []*wire.Load{a, b} {
		if l.Result != wire.Refused || enginename.Strict(a.Engine, b.Engine) && enginename.Ours(l.Engine) {
			continue
		}
		if reason, ok := c.Known[l.Engine]; ok && (a.Result != b.Result || c.Expect.Result == wire.OK) {
			return result.RuleKnown, reason
		}
		if reason := knownReason(l); reason != "" && c.Others() {
			return result.RuleKnown, reason
		}
	}
	if c.Others() && !enginename.Strict(a.Engine, b.Engine) && (j.sizedRing(a) || j.sizedRing(b)) {
		return result.RuleKnown, "cilium/ebpf v0.22.0 leaves out the type of values of ring buffers and perf event arrays, others pass its size on, which the kernel refuses"
	}
	return "", ""
}

// sizedRing reports whether a load was refused for a ring buffer's sizes.
func (j *Judge) sizedRing(l *wire.Load) bool {
	return j.facts != nil && l.Result == wire.Refused && slices.ContainsFunc(j.facts.SizedRings, func(name string) bool {
		return strings.Contains(l.Detail, "map "+name+": MAP_CREATE: EINVAL") || strings.Contains(l.Detail, "map '"+name+"': failed to create")
	})
}

// callsZero reports whether libbpf's loader program was refused where another engine met
// a kfunc that does not exist.
func callsZero(l, other *wire.Load) bool {
	return l.Engine == enginename.LibbpfLight && other.Engine != l.Engine && missingKfunc.MatchString(bpfsys.LastLine(other.Log))
}
