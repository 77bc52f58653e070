package skelgen

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// hook is the attach target of a program, as its section names it.
type hook struct {
	kind   string // the section up to the first slash
	target string // the rest
	why    string // why a skeleton cannot attach the program, empty if it can
}

// Reasons why a skeleton leaves attaching a program to its caller.
const (
	elsewhere = "the section does not say where"
	nothing   = "nothing to attach: it is run"
	member    = "a struct_ops map attaches it"
)

// iterTargets has iterators that iterate over a map, a cgroup or the like, which the caller must
// pass.
var iterTargets = map[string]bool{"bpf_map_elem": true, "bpf_sk_storage_map": true, "sockmap": true}

var (
	symbol       = regexp.MustCompile(`^[A-Za-z_.$][A-Za-z0-9_.$]*$`)
	symbolOffset = regexp.MustCompile(`^([A-Za-z_.$][A-Za-z0-9_.$]*)(?:\+(0[xX][0-9a-fA-F]+|[0-9]+))?$`)
	pattern      = regexp.MustCompile(`^[A-Za-z0-9_.$*?]+$`)
	executable   = regexp.MustCompile(`^(/.+):([^:]+)$`)
)

// hookOf parses a program's section name.
func hookOf(p *artefact.Program) hook {
	kind, target, _ := strings.Cut(p.Section, "/")
	h := hook{kind: strings.TrimSuffix(kind, ".s"), target: target}
	named := func(re *regexp.Regexp) {
		if !re.MatchString(target) {
			h.why = elsewhere
		}
	}
	switch h.kind {
	case "raw_tp", "raw_tracepoint", "raw_tp.w", "raw_tracepoint.w":
		named(symbol)
	case "tp_btf", "fentry", "fexit", "fmod_ret", "lsm", "freplace":
		if target == "" {
			h.why = elsewhere // the caller passes the target to the load
		}
	case "iter":
		if named(symbol); iterTargets[target] {
			h.why = "it goes over something that the caller names"
		}
	case "tp", "tracepoint":
		if group, name, ok := strings.Cut(target, "/"); !ok || !symbol.MatchString(group) || !symbol.MatchString(name) {
			h.why = elsewhere
		}
	case "kprobe", "kretprobe":
		if named(symbolOffset); h.kind == "kretprobe" && strings.Contains(target, "+") {
			h.why = elsewhere
		}
	case "ksyscall", "kretsyscall":
		named(symbol)
	case "kprobe.multi", "kretprobe.multi", "kprobe.session":
		named(pattern)
	case "uprobe", "uretprobe":
		if m := executable.FindStringSubmatch(target); m == nil || !symbolOffset.MatchString(m[2]) {
			h.why = elsewhere
		}
	case "uprobe.multi", "uretprobe.multi":
		if m := executable.FindStringSubmatch(target); m == nil || !symbol.MatchString(m[2]) {
			h.why = elsewhere
		}
	case "struct_ops":
		h.why = member
	case "syscall":
		h.why = nothing
	default:
		h.why = elsewhere
	}
	return h
}

// goCall returns the Go expression that attaches program p.
func (h hook) goCall() string {
	switch h.kind {
	case "raw_tp", "raw_tracepoint", "raw_tp.w", "raw_tracepoint.w":
		return fmt.Sprintf("link.AttachRawTracepoint(link.RawTracepointOptions{Name: %q, Program: p})", h.target)
	case "tp_btf", "fentry", "fexit", "fmod_ret":
		return "link.AttachTracing(link.TracingOptions{Program: p})"
	case "lsm":
		return "link.AttachLSM(link.LSMOptions{Program: p})"
	case "freplace":
		return `link.AttachFreplace(nil, "", p)`
	case "iter":
		return "skel.Iter(p)"
	case "tp", "tracepoint":
		group, name, _ := strings.Cut(h.target, "/")
		return fmt.Sprintf("link.Tracepoint(%q, %q, p, nil)", group, name)
	case "kprobe":
		m := symbolOffset.FindStringSubmatch(h.target)
		if off := offset(m[2]); off != 0 {
			return fmt.Sprintf("link.Kprobe(%q, p, &link.KprobeOptions{Offset: %d})", m[1], off)
		}
		return fmt.Sprintf("link.Kprobe(%q, p, nil)", m[1])
	case "kretprobe":
		return fmt.Sprintf("link.Kretprobe(%q, p, nil)", h.target)
	case "ksyscall": // Kprobe knows the platform's names of system calls
		return fmt.Sprintf("link.Kprobe(%q, p, nil)", "sys_"+h.target)
	case "kretsyscall":
		return fmt.Sprintf("link.Kretprobe(%q, p, nil)", "sys_"+h.target)
	case "kprobe.multi", "kretprobe.multi", "kprobe.session":
		return fmt.Sprintf("skel.KprobeMulti(p, %q, %v, %v)", h.target, h.kind == "kretprobe.multi", h.kind == "kprobe.session")
	case "uprobe", "uretprobe":
		m := executable.FindStringSubmatch(h.target)
		s := symbolOffset.FindStringSubmatch(m[2])
		return fmt.Sprintf("skel.Uprobe(p, %q, %q, %d, %v)", m[1], s[1], offset(s[2]), h.kind == "uretprobe")
	case "uprobe.multi", "uretprobe.multi":
		m := executable.FindStringSubmatch(h.target)
		return fmt.Sprintf("skel.UprobeMulti(p, %q, %q, %v)", m[1], m[2], h.kind == "uretprobe.multi")
	}
	return ""
}

func offset(text string) uint64 {
	n, _ := strconv.ParseUint(text, 0, 64)
	return n
}
