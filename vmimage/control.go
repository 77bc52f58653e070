package vmimage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxControlLine bounds one line of a control file; Depends lines of some
// packages come to tens of kilobytes.
const maxControlLine = 4 << 20

// stanza is one paragraph of a Debian control file: field names in lower case,
// as they are case-insensitive (deb822(5)), and values with the line breaks of
// their continuation lines.
type stanza map[string]string

// readStanzas calls fn for every stanza of a control file, in order. Lines
// that are comments are left out.
func readStanzas(r io.Reader, fn func(stanza) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxControlLine)
	current := make(stanza)
	last := ""
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		done := current
		current, last = make(stanza), ""
		return fn(done)
	}
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimRight(lines.Bytes(), " \t\r")
		switch {
		case len(line) == 0:
			if err := flush(); err != nil {
				return err
			}
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return fmt.Errorf("control file, line %d: continues no field", number)
			}
			current[last] += "\n" + string(bytes.TrimLeft(line, " \t"))
		default:
			name, value, ok := bytes.Cut(line, []byte(":"))
			if !ok || len(name) == 0 {
				return fmt.Errorf("control file, line %d: not a field", number)
			}
			last = strings.ToLower(string(name))
			if _, twice := current[last]; twice {
				return fmt.Errorf("control file, line %d: field %s appears twice", number, name)
			}
			current[last] = string(bytes.TrimSpace(value))
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("control file, line %d: longer than %d bytes", number+1, maxControlLine)
		}
		return fmt.Errorf("control file: %w", err)
	}
	return flush()
}
