package apt

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestParseDepends(t *testing.T) {
	for field, want := range map[string]string{
		"": "", " , ": "",
		"libc6 (>= 2.38), make":                "libc6 (>= 2.38); make",
		"a (= 1:2.3-4+b1) | b:any,\nc++ (<<2)": "a (= 1:2.3-4+b1) | b:any; c++ (<< 2)",
	} {
		groups, err := parseDepends(field)
		assert.NilError(t, err, field)
		var got []string
		for _, g := range groups {
			got = append(got, g.String())
		}
		assert.Check(t, is.Equal(strings.Join(got, "; "), want), field)
	}
	for _, field := range []string{"a (1)", "a (> 1)", "a [amd64]", "|", "a b", "${misc:Depends}", "a <x", "<x", "a (= 1) <x", "\x00"} {
		_, err := parseDepends(field)
		assert.Check(t, is.ErrorContains(err, "is no relation"), field)
	}
}

func TestAdmits(t *testing.T) {
	for _, test := range []struct {
		relation, version string
		want              bool
	}{
		{"a", "1", true}, {"a (= 1-1)", "1-1", true}, {"a (= 1-1)", "1-2", false}, {"a (>= 1)", "1~rc1", false},
		{"a (<< 2)", "1.9", true}, {"a (<< 2)", "2", false}, {"a (<= 2)", "2", true}, {"a (>> 2)", "2", false}, {"a (>> 2)", "1:1", true},
	} {
		r, err := parseDepends(test.relation)
		assert.NilError(t, err)
		assert.Check(t, admits(r[0].Possibilities[0], test.version) == test.want, "%s: %s", test.relation, test.version)
	}
}

func TestClosure(t *testing.T) {
	p := func(name, version, depends string) Package {
		return Package{Name: name, Version: version, Depends: depends}
	}
	virtual := p("mawk", "1.3", "libc6")
	virtual.Provides = "awk, awk-api (= 2)"
	early := p("sed", "4", "")
	early.PreDepends = "libc6 (>= 2)"
	main := []Package{
		p("headers", "6.1-1", "common (= 6.1-1), gcc-12 | gcc, image (= 6.1-1) | image-unsigned"), p("common", "6.1-1", ""), p("common", "6.1-2", ""),
		p("gcc-12", "12", "libc6 (>= 2.36), cpp-12"), p("cpp-12", "12", "gcc-12"), p("libc6", "2.36-1", ""), p("libc6", "2.36-2", ""),
		virtual, early, p("needs-awk", "1", "awk"), p("needs-api", "1", "awk-api (>= 3)"), p("needs-newer", "1", "libc6 (>= 2.40)"),
		p("second", "1", "none | libc6"), p("pinned", "1", "libc6 (= 2.36-1)"), p("odd", "1", "x y"),
	}
	backports := []Package{p("libc6", "2.41-1", ""), p("sed", "5", "")}
	for _, test := range []struct{ wanted, want, err string }{
		{"headers", "common 6.1-1, cpp-12 12, gcc-12 12, headers 6.1-1, libc6 2.36-2", ""},
		{"sed", "libc6 2.36-2, sed 4", ""},
		{"sed (>= 5)", "sed 5", ""},
		{"needs-awk", "libc6 2.36-2, mawk 1.3, needs-awk 1", ""},
		{"mawk, needs-awk", "libc6 2.36-2, mawk 1.3, needs-awk 1", ""},
		{"needs-newer", "libc6 2.41-1, needs-newer 1", ""},
		{"second", "libc6 2.36-2, second 1", ""},
		{"needs-api", "", "package needs-api 1: not there (404): no package is awk-api (>= 3)"},
		{"sed, pinned", "", "package pinned 1: libc6 (= 2.36-1) is wanted, and libc6 2.36-2 is already"},
		{"odd", "", `package odd: "x y" is no relation to a package`},
		{"nothing", "", "no package is nothing"},
	} {
		u, err := NewUniverse(main, backports)
		assert.NilError(t, err)
		found, err := u.Closure(strings.Split(test.wanted, ", "), func(name string) bool { return strings.HasPrefix(name, "image") })
		if test.err != "" {
			assert.Check(t, is.ErrorContains(err, test.err), test.wanted)
			continue
		}
		assert.NilError(t, err, test.wanted)
		var got []string
		for _, f := range found {
			got = append(got, f.Name+" "+f.Version)
		}
		assert.Check(t, is.Equal(strings.Join(got, ", "), test.want), test.wanted)
	}
}
