package core

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is. Every one of them means that a
// direct load by libbpf fails too.
var (
	// ErrMalformed: the record does not fit the local BTF or the program.
	ErrMalformed = errors.New("malformed CO-RE record")
	// ErrUnsupported: the record asks for something that cannot be computed, for
	// instance a property of an unknown kind.
	ErrUnsupported = errors.New("unsupported CO-RE record")
	// ErrAmbiguous: several types of the target match and give different answers.
	ErrAmbiguous = errors.New("ambiguous CO-RE record")
	// ErrInstruction: the instruction does not hold what the record says, or
	// cannot hold the target's value.
	ErrInstruction = errors.New("instruction does not fit its CO-RE record")
	// ErrTooComplex: types are nested too deeply, or comparing them takes too
	// long to be meant seriously.
	ErrTooComplex = errors.New("types are too complex")
)

// errPoison asks for the instruction to be poisoned. It never leaves the package.
var errPoison = errors.New("no match in the target")

// Error is the failure of one record.
type Error struct {
	Record Record
	Insn   int    // index of the instruction, counted in slots of 8 bytes
	Text   string // Record.String
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("CO-RE: insn %d: %s: %v", e.Insn, e.Text, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

func badInsn(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInstruction, fmt.Sprintf(format, args...))
}
