package apt

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"

	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// restriction matches what no archive's index has: variables, and restrictions to architectures or
// profiles. On a profile without an end the library hangs.
var restriction = regexp.MustCompile(`[$[]|(^|[^(<\s])\s*<`)

// parseDepends reads a field such as Depends. A package needs all relations, and one possibility of
// each.
func parseDepends(field string) ([]dependency.Relation, error) {
	var relations []dependency.Relation
	for group := range strings.SplitSeq(field, ",") {
		if group = strings.TrimSpace(group); group == "" {
			continue
		}
		if restriction.MatchString(group) {
			return nil, fmt.Errorf("%q is no relation to a package", group)
		}
		d, err := dependency.Parse(group)
		if err != nil || len(d.Relations) != 1 || len(d.Relations[0].Possibilities) == 0 {
			return nil, fmt.Errorf("%q is no relation to a package", group)
		}
		relations = append(relations, d.Relations...)
	}
	return relations, nil
}

// admits reports whether version v, "" if there is none, satisfies the possibility.
func admits(p dependency.Possibility, v string) bool {
	parsed, err := version.Parse(v)
	return p.Version == nil || err == nil && p.Version.SatisfiedBy(parsed)
}

// Universe is the set of packages that are available.
type Universe struct {
	packages map[string][]Package
	// providers are the packages that provide a name, each with the version that it provides, ""
	// for none.
	providers map[string][]provider
}

type provider struct {
	Package
	as string
}

// NewUniverse takes the packages of suites by rank. A later suite is only used if no earlier one
// has a fitting package, as apt treats backports.
func NewUniverse(ranked ...[]Package) (*Universe, error) {
	u := &Universe{packages: make(map[string][]Package), providers: make(map[string][]provider)}
	for _, packages := range ranked {
		slices.SortStableFunc(packages, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), Compare(b.Version, a.Version))
		})
		for _, p := range packages {
			u.packages[p.Name] = append(u.packages[p.Name], p)
			provided, err := parseDepends(p.Provides)
			if err != nil {
				return nil, fmt.Errorf("package %s provides: %w", p.Name, err)
			}
			for _, group := range provided {
				r := group.Possibilities[0]
				as := ""
				if r.Version != nil {
					as = r.Version.Number
				}
				u.providers[r.Name] = append(u.providers[r.Name], provider{p, as})
			}
		}
	}
	return u, nil
}

// find returns the best package for a relation.
func (u *Universe) find(r dependency.Possibility) (Package, bool) {
	for _, p := range u.packages[r.Name] {
		if admits(r, p.Version) {
			return p, true
		}
	}
	for _, p := range u.providers[r.Name] {
		if admits(r, p.as) {
			return p.Package, true
		}
	}
	return Package{}, false
}

// Closure returns the packages of these names and all that they depend on, sorted by name. Packages
// for which leaveOut is true count as installed. It takes the first alternative that is available
// and does not backtrack: if two packages need different versions of a third, that is an error.
func (u *Universe) Closure(wanted []string, leaveOut func(name string) bool) ([]Package, error) {
	chosen := make(map[string]Package)
	var queue []Package
	satisfied := func(r dependency.Possibility) bool {
		if p, ok := chosen[r.Name]; ok {
			return admits(r, p.Version)
		}
		return slices.ContainsFunc(u.providers[r.Name], func(p provider) bool {
			c, ok := chosen[p.Name]
			return ok && c.Version == p.Version && admits(r, p.as)
		})
	}
	need := func(group dependency.Relation) error {
		if slices.ContainsFunc(group.Possibilities, func(r dependency.Possibility) bool { return leaveOut(r.Name) || satisfied(r) }) {
			return nil
		}
		for _, r := range group.Possibilities {
			p, ok := u.find(r)
			if !ok {
				continue
			}
			if leaveOut(p.Name) {
				return nil
			}
			if c, ok := chosen[p.Name]; ok {
				return fmt.Errorf("%s is wanted, and %s %s is already", r, c.Name, c.Version)
			}
			chosen[p.Name] = p
			queue = append(queue, p)
			return nil
		}
		return fmt.Errorf("%w: no package is %s", fetch.ErrGone, group)
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
		groups, err := parseDepends(p.PreDepends + "," + p.Depends)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p.Name, err)
		}
		for _, group := range groups {
			if err := need(group); err != nil {
				return nil, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
			}
		}
	}
	return slices.SortedFunc(maps.Values(chosen), func(a, b Package) int { return cmp.Compare(a.Name, b.Name) }), nil
}
