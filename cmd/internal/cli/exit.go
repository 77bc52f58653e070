package cli

import (
	"errors"
	"fmt"
)

// Exit statuses of every command.
const (
	ExitOK      = 0
	ExitFailed  = 1 // a difference or a failed expectation
	ExitTrouble = 2 // the harness or its input failed
)

// These errors end a command whose output has already shown the failure.
var (
	ErrFailed = errors.New("failed")
	ErrBroken = errors.New("broken") // the harness failed, so there is no verdict
)

// ProgramError is the non-zero exit status of a program that ran in a guest.
type ProgramError int

func (e ProgramError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Verdict returns the result of a command that shows a report.
func Verdict(r interface {
	OK() bool
	Different() bool // if not, the harness failed
}) error {
	switch {
	case r.OK():
		return nil
	case r.Different():
		return ErrFailed
	}
	return ErrBroken
}
