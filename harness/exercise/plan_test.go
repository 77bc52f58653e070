package exercise

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

func no(string) bool { return false }

func open(t *testing.T, name string) *object.Object {
	t.Helper()
	b, err := os.ReadFile("../../selftests/bpf/" + name + ".bpf.o")
	assert.NilError(t, err)
	o, err := object.OpenBytes(b, name)
	assert.NilError(t, err)
	return o
}

// of returns the names of a program's inputs, and the subject if the program is attached.
func (p *Plan) of(program string) (inputs []string, subject *Subject) {
	for _, in := range p.Inputs {
		if in.Program == program {
			inputs = append(inputs, in.Name)
		}
	}
	i := slices.IndexFunc(p.Attach, func(s Subject) bool { return s.Program == program })
	if i >= 0 {
		subject = &p.Attach[i]
	}
	return inputs, subject
}

func TestPlan(t *testing.T) {
	packets := []string{"tcp4", "udp6", "short"}
	for _, test := range []struct {
		object, program string
		inputs          []string
		attach          *Subject
	}{
		{"prog_tc", "ingress", packets, &Subject{Type: uapi.ProgSchedCls, Pattern: "tc"}},
		{"prog_tc", "act", packets, nil},
		{"prog_lwt", "seg6", packets, nil},
		{"prog_raw_tp", "leave", []string{"numbers"}, &Subject{Type: uapi.ProgRawTracepoint, Target: "sys_exit", Pattern: "raw_tracepoint+"}},
		{"prog_tracepoint", "switched", nil, &Subject{Type: uapi.ProgTracepoint, Target: "sched/sched_switch", Pattern: "tp+"}},
		{"prog_kprobe", "leave", nil, &Subject{Type: uapi.ProgKprobe, Target: "do_sys_openat2", Pattern: "kretprobe+"}},
		{"prog_fentry", "before", nil, &Subject{Type: uapi.ProgTracing, Attach: 24, Target: "bpf_fentry_test1", Pattern: "fentry+"}},
		{"prog_cgroup", "connect4", nil, &Subject{Type: uapi.ProgCgroupSockAddr, Attach: 10, Pattern: "cgroup/connect4"}},
		{"prog_sk_lookup", "lookup", []string{"tcp4"}, &Subject{Type: uapi.ProgSkLookup, Attach: 36, Pattern: "sk_lookup"}},
		{"prog_syscall", "run", nil, nil},
		{"maps_sockmap", "message", nil, nil},
	} {
		inputs, subject := PlanOf(open(t, test.object), no, no).of(test.program)
		assert.DeepEqual(t, inputs, test.inputs)
		if test.attach != nil {
			test.attach.Program = test.program
		}
		assert.DeepEqual(t, subject, test.attach)
	}
}

func TestPlanLeavesOut(t *testing.T) {
	o := open(t, "prog_tc")
	inputs, subject := PlanOf(o, func(p string) bool { return p == "ingress" }, no).of("ingress")
	assert.Equal(t, len(inputs), 0, "it has an input of its own")
	assert.Assert(t, subject != nil)

	inputs, subject = PlanOf(o, no, func(p string) bool { return p == "ingress" }).of("ingress")
	assert.Equal(t, len(inputs), 0, "it is idle")
	assert.Assert(t, subject == nil, "it is idle")

	p := PlanOf(open(t, "prog_autoload"), no, no)
	inputs, subject = p.of("asked_for")
	assert.Assert(t, inputs == nil && subject == nil, "some engines do not load it")
	inputs, subject = p.of("first")
	assert.Assert(t, inputs != nil && subject != nil)

	assert.Assert(t, PlanOf(open(t, "maps_only"), no, no).Empty())
}

func TestPlanIsLimited(t *testing.T) {
	p := PlanOf(open(t, "prog_many"), no, no)
	count := make(map[uapi.ProgType]int)
	for _, s := range p.Attach {
		count[s.Type]++
	}
	assert.DeepEqual(t, count, map[uapi.ProgType]int{uapi.ProgSocketFilter: maxOfAKind, uapi.ProgXDP: maxOfAKind, uapi.ProgSchedCls: maxOfAKind})
	programs := make(map[string]bool)
	for _, in := range p.Inputs {
		programs[in.Program] = true
	}
	assert.Equal(t, len(programs), 40, "all are run")
}

func TestPlanStructOps(t *testing.T) {
	p := PlanOf(open(t, "struct_ops_two"), no, func(name string) bool { return name == "with_init" })
	assert.Equal(t, len(p.Register), 1)
	ops := &p.Register[0]
	assert.Equal(t, ops.Map, "without_init")
	assert.Equal(t, ops.Type, "tcp_congestion_ops")
	assert.Assert(t, ops.Link)
	assert.Equal(t, ops.name(), "bpfreplay_none")
	var members []string
	for _, f := range ops.functions {
		members = append(members, f.member+"="+f.program)
	}
	assert.Equal(t, strings.Join(members, " "), "ssthresh=ssthresh cong_avoid=cong_avoid undo_cwnd=undo_cwnd")
}

// Iterators over what the agent itself has open or mapped are not run: that changes from one load
// to the next.
func TestPlanLeavesOutTheAgentsOwn(t *testing.T) {
	for target, want := range map[string]bool{"task_file": false, "task_vma": false, "bpf_map": true, "ksym": true} {
		o := &object.Object{Functions: []object.Function{{
			Name: "list", Autoload: true,
			Program: object.ProgramType{Type: uapi.ProgTracing, AttachType: uapi.AttachTraceIter, Attach: target},
		}}}
		_, subject := PlanOf(o, no, no).of("list")
		assert.Equal(t, subject != nil, want, target)
	}
}
