package artefact

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// StepError is a step of a load that failed.
type StepError struct {
	Subject string // "program handle_exec", or "loader program" if that could not be loaded or run
	Op      string // "PROG_LOAD"
	Err     error  // wraps a unix.Errno
	Log     string // the verifier's log, if there is one
}

// Error is one line: subject, command, errno, and the line of the verifier's log
// that says what is wrong.
func (e *StepError) Error() string {
	s := fmt.Sprintf("%s: %s: %s", e.Subject, e.Op, errnoText(e.Err))
	if last := bpfsys.LastLine(e.Log); last != "" {
		s += ": " + last
	}
	return s
}

// Unwrap gives the errno.
func (e *StepError) Unwrap() error { return e.Err }

// Format prints the error and with %+v below it the whole log.
func (e *StepError) Format(s fmt.State, verb rune) {
	_, _ = io.WriteString(s, e.Error())
	if log := strings.TrimRight(e.Log, "\n"); verb == 'v' && s.Flag('+') && log != "" {
		_, _ = io.WriteString(s, "\n"+log)
	}
}

// errnoText is the error with the errno's name in place of the C library's text for
// it: the name is what people search for.
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

// NeedError means that this kernel lacks something that a load needs. Nothing has been
// created.
type NeedError struct {
	Need
	Err error // what the probe came to
}

func (e *NeedError) Error() string {
	return fmt.Sprintf("this kernel lacks %s, which %s needs: %v", e.Capability, e.Why, e.Err)
}

// Unwrap gives what the probe came to.
func (e *NeedError) Unwrap() error { return e.Err }
