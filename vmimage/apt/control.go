package apt

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pault.ag/go/debian/control"
)

// maxStanza bounds one stanza of a control file, in bytes. Depends lines of some packages have tens
// of kilobytes.
const maxStanza = 4 << 20

// stanza is one paragraph of a Debian control file: field names in lower case,
// as they are case-insensitive (deb822(5)), and values with the line breaks of
// their continuation lines.
type stanza map[string]string

// readStanzas calls fn for every stanza of a control file, in order. It skips comments. A signed
// message is an error.
func readStanzas(r io.Reader, fn func(stanza) error) error {
	// The library accepts a signed message without checking it, but only looks for one in the first
	// bytes. A reader that is empty at first prevents that.
	bounded := &io.LimitedReader{R: r}
	stanzas, err := control.NewParagraphReader(bounded, nil)
	for number := 1; err == nil; number++ {
		bounded.N = maxStanza
		var p *control.Paragraph
		p, err = stanzas.Next()
		if bounded.N == 0 {
			return fmt.Errorf("control file, stanza %d: longer than %d bytes", number, maxStanza)
		}
		if err != nil {
			break
		}
		s := make(stanza)
		for field, value := range p.Values {
			if value = strings.TrimSpace(value); field+value != "" {
				s[strings.ToLower(field)] = value
			}
		}
		// The library accepts a field without a name, and takes the last of two fields with the
		// same name.
		if s[""] != "" || len(s) != len(p.Order) {
			return fmt.Errorf("control file, stanza %d: a line that belongs to no field, or a field that appears twice", number)
		}
		if err := fn(s); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("control file: %w", err)
}
