package trace

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
)

// StepError is a step of a trace that failed, in whichever way it was issued.
type StepError struct {
	Step    int    // index into Trace.Commands
	Subject string // "program handle_exec"
	What    string // "PROG_LOAD"
	Err     error  // a unix.Errno, or wraps one
	Log     string // the verifier's log, if there is one
}

// Error is one line: subject, command, errno, and the last line of the
// verifier's log that says something.
func (e *StepError) Error() string {
	s := fmt.Sprintf("%s: %s: %s", e.Subject, e.What, errnoText(e.Err))
	if last := bpfsys.LastLine(e.Log); last != "" {
		s += ": " + last
	}
	return s
}

// Unwrap gives the errno.
func (e *StepError) Unwrap() error { return e.Err }

// errnoText is the error with the errno's name in front, which is what people search for.
func errnoText(err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	name := unix.ErrnoName(errno)
	if err == error(errno) && name != "" {
		return name
	}
	return err.Error()
}

// Fail is the StepError of step i.
func (t *Trace) Fail(i int, err error, log string) *StepError {
	c := t.Commands[i]
	return &StepError{Step: i, Subject: c.Subject(), What: t.what(c), Err: err, Log: log}
}

// what names a command as strace would.
func (t *Trace) what(c Command) string {
	if cmd, ok := c.Cmd(); ok {
		return cmd.String()
	}
	switch c := c.(type) {
	case *Lookup:
		s := &t.Symbols[c.Symbol]
		if s.Kind == SymbolAddress {
			return "lookup of kernel symbol " + s.Name
		}
		where := ""
		if s.Module != "" {
			where = " of module " + s.Module
		}
		return fmt.Sprintf("lookup of %s %s%s", btfKindName(s.BTFKind), s.Name, where)
	case *Close:
		return "close"
	}
	return fmt.Sprintf("%T", c)
}

// StepName names a step for those who do not have the trace: "program
// handle_exec: PROG_LOAD".
func (t *Trace) StepName(c Command) string { return c.Subject() + ": " + t.what(c) }

// Needs says what a load of this trace takes beyond its commands and a context
// for a loader program: what user space has to do before or after, one thing a
// line, none for most objects.
func (t *Trace) Needs() []string {
	var needs []string
	for _, a := range t.Arenas {
		needs = append(needs, "arena "+t.Maps[a.Map].Name+" mapped in memory")
	}
	for _, m := range t.Maps {
		if m.Pinned {
			needs = append(needs, "map "+m.Name+" pinned")
		}
	}
	for _, s := range t.Settings {
		if s.Map < 0 {
			needs = append(needs, "the size of an inner ring buffer")
		}
	}
	prototypes := make(map[string]btf.TypeID)
	for _, s := range t.Symbols {
		if s.Type == 0 {
			continue
		}
		other, ok := prototypes[s.Name]
		if need := "the kernel's prototype of " + s.Name; ok && other != s.Type && !slices.Contains(needs, need) {
			needs = append(needs, need)
		}
		prototypes[s.Name] = s.Type
	}
	for _, c := range t.Commands {
		switch c := c.(type) {
		case *CreateMap:
			if c.StructOps != nil {
				needs = append(needs, "the layout of the kernel's struct "+c.StructOps.Type)
			}
		case *LoadProgram:
			if c.USDT {
				needs = append(needs, "to know of uprobe_multi links for program "+c.Name)
			}
			if c.Replaces != "" {
				needs = append(needs, "the program that "+c.Name+" replaces")
			}
			if len(c.UserCORE) > 0 {
				needs = append(needs, "CO-RE in user space for program "+c.Name+" (see explain)")
			}
			if c.Attach >= 0 && t.Symbols[c.Attach].Module != "" {
				needs = append(needs, "the types of module "+t.Symbols[c.Attach].Module)
			}
		}
	}
	return needs
}
