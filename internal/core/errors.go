package core

import (
	"errors"
	"fmt"
)

// Errors for errors.Is.
var (
	// ErrMalformed: the record does not fit the local BTF or the program.
	ErrMalformed = errors.New("malformed CO-RE record")
	// ErrUnsupported: the record asks for something that cannot be computed, for example a property
	// of an unknown kind.
	ErrUnsupported = errors.New("unsupported CO-RE record")
	// ErrTooComplex: types are nested too deeply, or comparing them takes too long.
	ErrTooComplex = errors.New("types are too complex")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}
