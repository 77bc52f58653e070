package object

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// Reasons why a file cannot be opened as an object. Use them with errors.Is.
var (
	// ErrEmpty: the file has no bytes.
	ErrEmpty = errors.New("file is empty")
	// ErrNotFile: a directory, a pipe, a device.
	ErrNotFile = errors.New("not a regular file")
	// ErrNotELF: the file is something else, C source for example.
	ErrNotELF = errors.New("not an ELF file")
	// ErrTruncated: the file ends before the end of something in its headers.
	ErrTruncated = errors.New("truncated ELF file")
	// ErrClass: a 32-bit ELF file.
	ErrClass = errors.New("not a 64-bit ELF file")
	// ErrBigEndian: compiled for a big-endian target.
	ErrBigEndian = errors.New("big-endian objects are not supported")
	// ErrMachine: compiled for another machine than BPF.
	ErrMachine = errors.New("not a BPF object")
	// ErrNotRelocatable: an executable or shared library.
	ErrNotRelocatable = errors.New("not a relocatable object")
	// ErrLegacyMaps: maps are defined in section "maps".
	ErrLegacyMaps = errors.New(`legacy map definitions in section "maps" are not supported; define maps with BTF in SEC(".maps")`)
	// ErrMalformed: the file contradicts itself or the rules of BPF objects.
	ErrMalformed = errors.New("malformed object")
	// ErrUnsupported: well-formed, but not supported by any BPF loader.
	ErrUnsupported = errors.New("not supported")
	// ErrTooLarge: the file is larger than MaxFileBytes, its data sections are larger than
	// MaxDataBytes, or it would take many times its size in memory.
	ErrTooLarge = errors.New("object is too large")
	// ErrCORELost: the object has CO-RE records that cannot be read. libbpf sometimes continues
	// without them.
	ErrCORELost = errors.New("the object's CO-RE records cannot be read, and without them its programs would use the field offsets of the machine that compiled them; build the object anew")
	// ErrNoBTF: something in the object needs BTF and the object has none.
	ErrNoBTF = errors.New("BTF is required, but is missing or corrupted; compile with -g")
)

// Error reports what is wrong with an object, and where. Err wraps one of the
// sentinels of this package or of package btf.
type Error struct {
	Object  string // libbpf's name: up to 15 characters of the file's name
	Path    string // the file, as the caller named it; "" if it has no name
	Section string // "" if the error is not about one section
	Symbol  string // map, function, variable or extern; "" if none
	Err     error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "object %q: ", cmp.Or(e.Path, e.Object))
	if e.Section != "" {
		fmt.Fprintf(&b, "section %q: ", e.Section)
	}
	if e.Symbol != "" {
		fmt.Fprintf(&b, "%q: ", e.Symbol)
	}
	b.WriteString(e.Err.Error())
	return visible.Text(b.String())
}

func (e *Error) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}

// in adds a section and a symbol to an error that has none yet.
func in(section, symbol string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Section: section, Symbol: symbol, Err: err}
}
