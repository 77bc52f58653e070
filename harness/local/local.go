// Package local compares engines on the running kernel. It serves bpfreplay compare, for a person
// at a prompt in a guest.
package local

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// Compare loads the object of a suite's first case with each engine on the running kernel, and
// judges the loads as package run does in a guest. It also returns the state that each engine left,
// as it was before the case's runs. bpftool is the path for libbpf's engines. With effects,
// programs are also attached and run with inputs that the suite does not name; outside a guest that
// is an error. The caller has to load modules first. An error means that the harness failed, for
// example without the rights to load programs.
func Compare(suite *suite.Suite, engines []string, bpftool string, effects bool) (*result.CaseReport, map[string]*state.State, error) {
	if effects {
		if err := inguest.Check(); err != nil {
			return nil, nil, fmt.Errorf("programs are attached in guests only: %w", err)
		}
	}
	start := time.Now()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, nil, err
	}
	c := &suite.Cases[0]
	data, err := suite.Read(c)
	if err != nil {
		return nil, nil, err
	}
	req, err := suite.Request(c, data)
	if err != nil {
		return nil, nil, err
	}
	req.Engines, req.Bpftool, req.Modules, req.Exercise = engines, bpftool, false, effects
	if needed := enginename.Skeletons(engines); len(needed) > 0 {
		if req.Skeletons, err = os.MkdirTemp("", "bpfreplay-skeletons-"); err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(req.Skeletons)
		for _, e := range needed {
			if _, err := run.Skeletons(context.Background(), suite, e, "", req.Skeletons); err != nil {
				return nil, nil, err
			}
		}
	}
	answer, err := agent.NewServer().Answer(req)
	if err != nil {
		return nil, nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	out := &result.CaseReport{Name: c.Name, Object: c.Object}
	states := make(map[string]*state.State)
	for i := range answer.Loads {
		l := &answer.Loads[i]
		out.Loads = append(out.Loads, run.LoadReport(l))
		if l.State != nil {
			states[l.Engine] = l.State
		}
	}
	any := func(string) bool { return false }
	j := judge.New(unix.ByteSliceToString(u.Release[:]), any, req.File, data)
	out.Verdicts, out.Failures = j.Case(c, answer.Loads)
	out.Notes = j.Notes
	out.Seconds = time.Since(start).Seconds()
	return out, states, nil
}
