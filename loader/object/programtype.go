package object

import "strings"

// prog_flags of BPF_PROG_LOAD that a section name can ask for.
const (
	flagSleepable = 1 << 4 // BPF_F_SLEEPABLE, 5.10
	flagXDPFrags  = 1 << 5 // BPF_F_XDP_HAS_FRAGS, 5.18
)

// match says whether a section name fits the row, and what follows its '/'.
func (r *sectionRow) match(name string) (attach string, ok bool) {
	prefix, open := strings.CutSuffix(r.pattern, "+")
	rest, ok := strings.CutPrefix(name, prefix)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "", true
	case open && rest[0] == '/':
		return rest[1:], true
	}
	return "", false
}

// LookupProgramType finds what a section name, without a leading '?', says
// about the programs in it. ok is false for names that libbpf does not know;
// their programs have to get a type by other means.
func LookupProgramType(section string) (t ProgramType, ok bool) {
	for i := range sectionTable {
		r := &sectionTable[i]
		attach, ok := r.match(section)
		if !ok {
			continue
		}
		t := ProgramType{
			Type: r.progType, AttachType: r.attachType, Attach: attach, Pattern: r.pattern,
			AttachTypeOptional: r.flags&attachOptional != 0,
			NeedsBTF:           r.flags&attachBTF != 0,
			USDT:               r.flags&usdt != 0,
		}
		if r.flags&sleepable != 0 {
			t.Flags |= flagSleepable
		}
		if r.flags&xdpFrags != 0 {
			t.Flags |= flagXDPFrags
		}
		return t, true
	}
	return ProgramType{}, false
}
