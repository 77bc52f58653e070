package artefact

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// StepError reports which step of a load failed.
type StepError struct {
	Subject string // "program handle_exec"; "loader program" if it cannot be loaded or run
	Op      string // "PROG_LOAD"
	Err     error  // wraps a unix.Errno
	Log     string // the verifier's log, if there is one
}

// Error returns one line: subject, command, errno, and the line of the verifier's log that gives
// the reason.
func (e *StepError) Error() string {
	s := fmt.Sprintf("%s: %s: %s", e.Subject, e.Op, errnoText(e.Err))
	if last := bpfsys.LastLine(e.Log); last != "" {
		s += ": " + last
	}
	return s
}

// Unwrap returns Err.
func (e *StepError) Unwrap() error { return e.Err }

// Format prints the error. %+v appends the whole log.
func (e *StepError) Format(s fmt.State, verb rune) {
	_, _ = io.WriteString(s, e.Error())
	if log := strings.TrimRight(e.Log, "\n"); verb == 'v' && s.Flag('+') && log != "" {
		_, _ = io.WriteString(s, "\n"+log)
	}
}

// errnoText returns the errno's name, for which people search, instead of the C library's text.
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

// NeedError reports that this kernel lacks a capability that a load needs. Nothing was created.
type NeedError struct {
	Need
	Err error // the probe's result
}

func (e *NeedError) Error() string {
	return fmt.Sprintf("this kernel lacks %s, which %s needs: %v", e.Capability, e.Why, e.Err)
}

// Unwrap returns the probe's result.
func (e *NeedError) Unwrap() error { return e.Err }
