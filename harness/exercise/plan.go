package exercise

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Plan is what to do with the programs and maps of a load.
type Plan struct {
	// Inputs are test runs, in order.
	Inputs []Input
	// Attach are the programs that are attached, in order.
	Attach []Subject
	// Register are the struct_ops maps that are registered, in order.
	Register []Ops
}

// Input is one BPF_PROG_TEST_RUN of a program.
type Input struct {
	Program string
	Name    string // of the input: "tcp4"
	Data    []byte
	Context []byte
}

// Subject is a program to attach.
type Subject struct {
	Program string
	Type    uapi.ProgType
	Attach  uapi.AttachType
	Target  string // from the section's name: "syscalls/sys_enter_openat"
	Pattern string // kind of section: "kretprobe+"
}

// PlanOf returns the plan for an object. hasInput reports whether the suite has inputs for a
// program, which then gets none of ours. idle reports whether to leave a program or map alone.
//
// The plan omits programs in sections named SEC("?..."), because some engines do not load them.
func PlanOf(o *object.Object, hasInput func(program string) bool, idle func(name string) bool) *Plan {
	p := &Plan{}
	for i := range o.Functions {
		f := &o.Functions[i]
		if f.Subprog || !f.Autoload || idle(f.Name) {
			continue
		}
		if !hasInput(f.Name) {
			for _, in := range inputs(f.Program.Type) {
				in.Program = f.Name
				p.Inputs = append(p.Inputs, in)
			}
		}
		if attachable(&f.Program) {
			p.Attach = append(p.Attach, Subject{
				Program: f.Name, Type: f.Program.Type, Attach: f.Program.AttachType,
				Target: f.Program.Attach, Pattern: f.Program.Pattern,
			})
		}
	}
	for i := range o.Maps {
		m := &o.Maps[i]
		if m.StructOps != nil && !m.StructOps.Optional && !idle(m.Name) {
			p.Register = append(p.Register, opsOf(o, m))
		}
	}
	p.limit()
	return p
}

// maxOfAKind limits how many programs of one kind are attached. Attaching forty XDP programs of an
// object shows no more than attaching four, and takes longer.
const maxOfAKind = 4

func (p *Plan) limit() {
	type kind struct {
		program uapi.ProgType
		attach  uapi.AttachType
	}
	seen := make(map[kind]int)
	p.Attach = slices.DeleteFunc(p.Attach, func(s Subject) bool {
		k := kind{s.Type, s.Attach}
		seen[k]++
		return seen[k] > maxOfAKind
	})
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Inputs)+len(p.Attach)+len(p.Register) == 0 }

// attachable reports whether attaching a program can have an effect. It cannot if the guest lacks
// what the program needs: a device for lirc and lightweight tunnels, another program for freplace,
// an action for act_bpf, a map with sockets for sk_skb and sk_msg. Iterators over open files and
// memory areas are left out, too: they list those of the agent itself, which change from one load to
// the next.
func attachable(t *object.ProgramType) bool {
	switch t.Type {
	case uapi.ProgTracing:
		return t.AttachType != uapi.AttachTraceIter || t.Attach != "task_file" && t.Attach != "task_vma"
	case uapi.ProgKprobe:
		return !t.USDT && !strings.HasPrefix(t.Pattern, "ksyscall") && !strings.HasPrefix(t.Pattern, "kretsyscall")
	case uapi.ProgSocketFilter, uapi.ProgSchedCls, uapi.ProgTracepoint, uapi.ProgXDP, uapi.ProgPerfEvent, uapi.ProgCgroupSkb, uapi.ProgCgroupSock,
		uapi.ProgSockOps, uapi.ProgCgroupDevice, uapi.ProgRawTracepoint, uapi.ProgCgroupSockAddr, uapi.ProgFlowDissector, uapi.ProgSkReuseport,
		uapi.ProgCgroupSysctl, uapi.ProgRawTracepointWritable, uapi.ProgCgroupSockopt, uapi.ProgLSM, uapi.ProgSkLookup, uapi.ProgNetfilter:
		return true
	}
	return false
}
