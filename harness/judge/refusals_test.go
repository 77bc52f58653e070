package judge

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// TestRefusals: which refusals of one object are equal, explained or different.
func TestRefusals(t *testing.T) {
	refused := func(engine, errno string) *wire.Load {
		return &wire.Load{Engine: engine, Result: wire.Refused, Errno: errno, Detail: "why"}
	}
	for name, test := range map[string]struct {
		a, b    *wire.Load
		verdict result.Verdict
		by      string
	}{
		"same errno":          {refused("direct", "EINVAL"), refused("libbpf", "EINVAL"), result.Equal, ""},
		"one without":         {refused("direct", ""), refused("libbpf", "EINVAL"), result.Equal, ""},
		"another errno":       {refused("direct", "EACCES"), refused("libbpf", "EINVAL"), result.Different, ""},
		"libbpf's ESRCH":      {refused("libbpf", "ESRCH"), refused("trace", "ENOENT"), result.Explained, ruleESRCH},
		"the other way round": {refused("replay", "ENOENT"), refused("libbpf-light", "ESRCH"), result.Explained, ruleESRCH},
		"our ESRCH":           {refused("libbpf", "ENOENT"), refused("trace", "ESRCH"), result.Different, ""},
		"ESRCH and EINVAL":    {refused("libbpf", "ESRCH"), refused("trace", "EINVAL"), result.Different, ""},
		"one loads":           {&wire.Load{Engine: "trace", Result: wire.OK}, refused("libbpf", "EINVAL"), result.Different, ""},
		"it is known to": {
			&wire.Load{Engine: "trace", Result: wire.OK}, refused("libbpf-light", "EINVAL"), result.Explained, result.RuleKnown,
		},
	} {
		j := Judge{Used: make(map[string]bool)}
		p := j.Pair(&suite.Case{Known: map[string]string{"libbpf-light": "a limit"}}, test.a, test.b)
		assert.Equal(t, p.Verdict, test.verdict, name)
		if test.by != "" {
			assert.Equal(t, p.Differences[0].ExplainedBy.String(), test.by, name)
			assert.Assert(t, Reason(test.by) != "")
		}
	}
}

// TestKnownLeaks: a known leak is a note. Any other leak is a failure.
func TestKnownLeaks(t *testing.T) {
	const detail = `program refcounted: member "test_refcounted" not found in bpf_testmod_ops`
	for name, test := range map[string]struct {
		load            wire.Load
		failures, notes int
	}{
		"known":          {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"1 file descriptors"}}, 0, 1},
		"more":           {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"2 file descriptors"}}, 1, 0},
		"something else": {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"program ids [1]"}}, 1, 0},
		"and a program":  {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"1 file descriptors", "program ids [1]"}}, 1, 1},
		"another error":  {wire.Load{Engine: "direct", Detail: "program refcounted: member", Leaks: []string{"1 file descriptors"}}, 1, 0},
		"ours":           {wire.Load{Engine: "trace", Detail: detail, Leaks: []string{"1 file descriptors"}}, 1, 0},
	} {
		test.load.Result = wire.Refused
		var j Judge
		failures := j.Expectations(&suite.Case{Expect: suite.Expect{Result: suite.AnyResult}}, []wire.Load{test.load})
		assert.Equal(t, len(failures), test.failures, name)
		assert.Equal(t, len(j.Notes), test.notes, name)
	}
}

// TestKnownVersions: if an engine loads an object that it is known to refuse, the entry is out of
// date, but only if the engine has the version that the entry names.
func TestKnownVersions(t *testing.T) {
	c := &suite.Case{Expect: suite.Expect{Result: wire.OK}, Known: map[string]string{"libbpf": "libbpf v1.1 has no such thing"}}
	for version, test := range map[string]struct{ failures, notes int }{
		"libbpf v1.1":  {1, 0},
		"libbpf v1.10": {0, 1},
		"libbpf v1.5":  {0, 1},
		"":             {1, 0}, // version unknown
	} {
		var j Judge
		failures := j.Expectations(c, []wire.Load{{Engine: "libbpf", Version: version, Result: wire.OK}})
		assert.Equal(t, len(failures), test.failures, version)
		assert.Equal(t, len(j.Notes), test.notes, version)
	}
}

func TestKnownWithoutVersion(t *testing.T) {
	c := suite.Case{Name: "a", Object: "a.bpf.o", Known: map[string]string{"libbpf": "there is no such thing"}}
	assert.ErrorContains(t, c.Check(false), `does not begin with a version, such as "cilium/ebpf v0.22.0"`)
	c.Known["libbpf"] = "libbpf v1.1 has no such thing"
	assert.NilError(t, c.Check(false))
}

// TestLikeLibbpf: refusals by libbpf and by our engines of objects that cilium/ebpf loads are
// known.
func TestLikeLibbpf(t *testing.T) {
	for engine, detail := range map[string]string{
		"trace":  `object "x": section "maps": legacy map definitions in section "maps" are not supported; define maps with BTF`,
		"replay": `object "x": instruction 8: relocation against "m": malformed object: section "maps/m" holds neither maps nor data`,
		"libbpf": "bpftool: elf: legacy map definitions in 'maps' section are not supported by libbpf v1.0+",
	} {
		l := &wire.Load{Engine: engine, Result: wire.Refused, Detail: detail}
		assert.Assert(t, knownReason(l) != "", engine)
		l.Engine = "direct"
		assert.Equal(t, knownReason(l), "", engine)
	}
}
