package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/internal/visible"
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

// Verdict returns the result of a command that has shown what it found. broken means that the
// harness or its input failed.
func Verdict(ok, broken bool) error {
	switch {
	case ok:
		return nil
	case broken:
		return ErrBroken
	}
	return ErrFailed
}

// VerdictOf returns the result of a command that ran a program, or a check, on several kernels.
func VerdictOf(rows []report.ExecRow) error {
	failed := func(r report.ExecRow) bool { return r.Status != 0 && r.Error == "" }
	broken := func(r report.ExecRow) bool { return r.Error != "" }
	if slices.ContainsFunc(rows, failed) {
		return ErrFailed
	}
	return Verdict(!slices.ContainsFunc(rows, broken), true)
}

// Notes returns a function that prints a line for the user, on standard error.
func Notes(cmd *cobra.Command) func(line string) {
	return func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), visible.Text(line)) }
}

// PrintJSON prints a value as JSON.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// NewReport returns the path of a report. It removes the report of a former run, which must not be
// taken for this one's.
func NewReport(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return path, nil
}
