package vmimage

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// relation is one alternative of a dependency between packages, such as
// "libc6 (>= 2.38)" (deb-substvars and debian-policy, section 7.1).
type relation struct {
	name        string
	op, version string // op is "" if any version will do
}

func (r relation) String() string {
	if r.op == "" {
		return r.name
	}
	return fmt.Sprintf("%s (%s %s)", r.name, r.op, r.version)
}

// admits says whether a version is one that the relation speaks of.
func (r relation) admits(version string) bool {
	c := compareDebian(version, r.version)
	switch r.op {
	case "":
		return true
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	case ">>":
		return c > 0
	default: // "<<"
		return c < 0
	}
}

// relationForm is a package's name, perhaps for some architecture, and a version.
// What the archive's index has no restrictions of architectures or profiles.
var relationForm = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s()]+)\s*\))?$`)

func parseRelation(s string) (relation, error) {
	m := relationForm.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return relation{}, fmt.Errorf("%q is no relation to a package", s)
	}
	return relation{m[1], m[2], m[3]}, nil
}

// parseDepends reads a field such as Depends: all groups are needed, and of each
// group one alternative.
func parseDepends(field string) ([][]relation, error) {
	var out [][]relation
	for group := range strings.SplitSeq(field, ",") {
		if strings.TrimSpace(group) == "" {
			continue
		}
		var alternatives []relation
		for s := range strings.SplitSeq(group, "|") {
			r, err := parseRelation(s)
			if err != nil {
				return nil, err
			}
			alternatives = append(alternatives, r)
		}
		out = append(out, alternatives)
	}
	return out, nil
}

// universe are packages that can be had.
type universe struct {
	packages map[string][]binaryPackage
	// providers are packages that provide a name, with the version that they
	// provide it in; "" if they say none.
	providers map[string][]provider
}

type provider struct {
	binaryPackage
	as string
}

// newUniverse wants the packages of suites: what is further behind is only taken
// if nothing before will do, as apt does it with backports.
func newUniverse(ranked ...[]binaryPackage) (*universe, error) {
	u := &universe{packages: make(map[string][]binaryPackage), providers: make(map[string][]provider)}
	for _, packages := range ranked {
		slices.SortStableFunc(packages, func(a, b binaryPackage) int {
			return cmp.Or(cmp.Compare(a.name, b.name), compareDebian(b.version, a.version))
		})
		for _, p := range packages {
			u.packages[p.name] = append(u.packages[p.name], p)
			provided, err := parseDepends(p.provides)
			if err != nil {
				return nil, fmt.Errorf("package %s provides: %w", p.name, err)
			}
			for _, group := range provided {
				r := group[0]
				u.providers[r.name] = append(u.providers[r.name], provider{p, r.version})
			}
		}
	}
	return u, nil
}

// find returns the best package for a relation.
func (u *universe) find(r relation) (binaryPackage, bool) {
	for _, p := range u.packages[r.name] {
		if r.admits(p.version) {
			return p, true
		}
	}
	for _, p := range u.providers[r.name] {
		if r.op == "" || p.as != "" && r.admits(p.as) {
			return p.binaryPackage, true
		}
	}
	return binaryPackage{}, false
}

// closure returns the packages of these names, and all that they depend on, sorted
// by name. What is left out counts as if it were there. It takes the first
// alternative that can be had, and does not go back: if two packages want
// different versions of a third, that is an error.
func (u *universe) closure(wanted []string, leaveOut func(name string) bool) ([]binaryPackage, error) {
	chosen := make(map[string]binaryPackage)
	var queue []binaryPackage
	satisfied := func(r relation) bool {
		if p, ok := chosen[r.name]; ok {
			return r.admits(p.version)
		}
		for _, p := range u.providers[r.name] {
			if c, ok := chosen[p.name]; ok && c.version == p.version && (r.op == "" || p.as != "" && r.admits(p.as)) {
				return true
			}
		}
		return false
	}
	need := func(group []relation) error {
		if slices.ContainsFunc(group, func(r relation) bool { return leaveOut(r.name) || satisfied(r) }) {
			return nil
		}
		for _, r := range group {
			p, ok := u.find(r)
			if !ok {
				continue
			}
			if leaveOut(p.name) {
				return nil
			}
			if c, ok := chosen[p.name]; ok {
				return fmt.Errorf("%s is wanted, and %s %s is already", r, c.name, c.version)
			}
			chosen[p.name] = p
			queue = append(queue, p)
			return nil
		}
		return fmt.Errorf("%w: no package is %s", errGone, joinRelations(group))
	}
	for _, name := range wanted {
		groups, err := parseDepends(name)
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			if err := need(group); err != nil {
				return nil, err
			}
		}
	}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		groups, err := parseDepends(p.more + "," + p.depends)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p.name, err)
		}
		for _, group := range groups {
			if err := need(group); err != nil {
				return nil, fmt.Errorf("package %s %s: %w", p.name, p.version, err)
			}
		}
	}
	out := make([]binaryPackage, 0, len(chosen))
	for _, p := range chosen {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b binaryPackage) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func joinRelations(group []relation) string {
	var s []string
	for _, r := range group {
		s = append(s, r.String())
	}
	return strings.Join(s, " | ")
}
