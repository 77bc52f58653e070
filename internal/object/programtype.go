package object

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// SectionRules select the matching rules for names of program sections. The table of names is
// libbpf's with either.
type SectionRules int

const (
	// LibbpfRules are the rules of libbpf 1.0 and later: a name must be in the table, and a slash
	// and a suffix may follow only if the table says so. Programs in other sections have no type,
	// and are not loaded.
	LibbpfRules SectionRules = iota
	// CiliumRules are the rules of cilium/ebpf, and of libbpf before 1.0: a row without a suffix
	// matches every name that begins with it, so "socket1", "tc_ingress" and "classifier/x" have a
	// type.
	CiliumRules
)

// sectionRules has the names of SectionRules.
var sectionRules = []string{LibbpfRules: "libbpf", CiliumRules: "cilium"}

// ParseSectionRules finds rules by name.
func ParseSectionRules(name string) (SectionRules, error) {
	if i := slices.Index(sectionRules, name); i >= 0 {
		return SectionRules(i), nil
	}
	return 0, fmt.Errorf("no section rules %q: there are %s", name, strings.Join(sectionRules, " and "))
}

// match reports whether a section name fits the row, and returns what follows its '/'.
func (r *sectionRow) match(name string, rules SectionRules) (attach string, ok bool) {
	prefix, open := strings.CutSuffix(r.pattern, "+")
	rest, ok := strings.CutPrefix(name, prefix)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "", true
	case open && rest[0] == '/':
		return rest[1:], true
	case !open && rules == CiliumRules:
		return "", true
	}
	return "", false
}

// Lookup returns the program type that a section name, without a leading '?', stands for. ok is
// false for names without a meaning under these rules.
func (rules SectionRules) Lookup(section string) (t ProgramType, ok bool) {
	for i := range sectionTable {
		r := &sectionTable[i]
		attach, ok := r.match(section, rules)
		if !ok {
			continue
		}
		t := ProgramType{
			Type: r.progType, AttachType: r.attachType, Attach: attach, Pattern: r.pattern,
			NeedsBTF: r.flags&attachBTF != 0, USDT: r.flags&usdt != 0,
		}
		if r.flags&sleepable != 0 {
			t.Flags |= unix.BPF_F_SLEEPABLE
		}
		if r.flags&xdpFrags != 0 {
			t.Flags |= unix.BPF_F_XDP_HAS_FRAGS
		}
		return t, true
	}
	return ProgramType{}, false
}

// NearestSection returns the section name of libbpf's table that is most similar to an unknown one,
// with the unknown name's suffix if the table wants one. It returns "" if none is similar.
func NearestSection(section string) string {
	best, least := "", max(2, len(section)/3)+1
	for i := range sectionTable {
		name, open := strings.CutSuffix(sectionTable[i].pattern, "+")
		have, tail := section, ""
		if head, rest, slash := strings.Cut(section, "/"); open && slash {
			have, tail = head, "/"+rest
		}
		d := distance(strings.ToLower(have), name)
		if strings.HasPrefix(have, name) {
			d = min(d, max(2, len(have)/3)) // text of any length may have been added
		}
		if d < least && d < len(have) {
			best, least = name+tail, d
		}
	}
	return best
}

// distance returns the edit distance of two names: how many characters have to be changed, added or
// removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
