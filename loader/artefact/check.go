package artefact

import "strings"

// Limits of the sizes in a file.
const (
	maxContext = 1<<16 - 1 // PROG_TEST_RUN of a SYSCALL program
	maxBlob    = 1<<29 - 1 // the largest offset in a map's value that the verifier accepts
	maxInsns   = 1_000_000 // BPF_COMPLEXITY_LIMIT_INSNS

	elemSize  = 32 // of MAP_UPDATE_ELEM's attribute
	mapAttr   = 44 // the shortest of MAP_CREATE, with its name
	progAttr  = 72 // the shortest of PROG_LOAD, with expected_attach_type
	attachEnd = 116
)

// checker keeps the first error.
type checker struct {
	a   *Artefact
	err error
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = malformed(format, args...)
	}
}

// within checks that size bytes at an offset are within a part of that many bytes.
func (c *checker) within(what string, off, size, of int) {
	if off < 0 || size < 0 || off > of || size > of-off {
		c.fail("%s: %d bytes at %d of %d", what, size, off, of)
	}
}

func (c *checker) blob(what string, r Range, least int) {
	c.within(what, r.Off, r.Size, len(c.a.Blob))
	if r.Size < least {
		c.fail("%s: %d bytes, at least %d are needed", what, r.Size, least)
	}
}

// context checks that something is in the context, after libbpf's header, whose fields have a
// meaning of their own.
func (c *checker) context(what string, off, size int) {
	c.within(what, off, size, c.a.Context)
	if off < ctxHeader {
		c.fail("%s: at %d, within the context's header of %d bytes", what, off, ctxHeader)
	}
}

// check checks that every range that a runtime reads or writes on behalf of the manifest is in
// bounds.
func (a *Artefact) check() error {
	c := &checker{a: a}
	switch {
	case len(a.Insns) == 0 || len(a.Insns)%8 != 0 || len(a.Insns)/8 > maxInsns:
		c.fail("%d bytes of instructions", len(a.Insns))
	case len(a.Blob) == 0 || len(a.Blob)%8 != 0 || len(a.Blob) > maxBlob:
		c.fail("a blob of %d bytes", len(a.Blob))
	case a.Context < ctxHeader || a.Context > maxContext:
		c.fail("a context of %d bytes", a.Context)
	}
	c.blob("types", a.Types, 0)
	for i := range a.Maps {
		c.checkMap(&a.Maps[i])
	}
	for i := range a.Programs {
		p := &a.Programs[i]
		what := "program " + p.Name
		c.context(what, p.FD, 4)
		if p.Link != 0 {
			c.context(what+": link", p.Link, 4)
		}
		c.context(what+": log", p.Log, 16)
		least := progAttr
		if p.Replaces != "" {
			least = attachEnd
		}
		c.blob(what+": attribute", p.Attr, least)
	}
	for _, s := range a.Steps {
		c.context("result of "+s.Subject+": "+s.Op, s.Result, 4)
	}
	for _, s := range a.Settings {
		c.context("setting "+s.Kind, s.Offset, s.Size)
		switch s.Kind {
		case "kconfig":
		case "member", "value_size":
			if s.StructOps == nil {
				c.fail("setting %s without a type", s.Kind)
			}
			fallthrough
		default:
			if s.Size != 4 {
				c.fail("setting %s: %d bytes", s.Kind, s.Size)
			}
		}
		for _, k := range s.Kconfig {
			c.within("kconfig "+k.Name, int(k.Offset), int(k.Size), s.Size)
			if k.Size == 0 {
				c.fail("kconfig %s: no bytes", k.Name)
			}
		}
	}
	if a.Signed != nil {
		c.checkSignatures(a.Signed)
	}
	return c.err
}

func (c *checker) checkMap(m *Map) {
	what := "map " + m.Name
	c.context(what, m.FD, 4)
	c.blob(what+": attribute", m.Attr, mapAttr)
	c.within(what+": delta", m.Delta, 4, len(c.a.Blob))
	c.blob(what+": initial value", m.Value, 0)
	if m.Value.Size > 0 && m.Value.Size != int(m.ValueSize) {
		c.fail("%s: initial value of %d bytes, not %d", what, m.Value.Size, m.ValueSize)
	}
	c.blob(what+": data", m.Data, 0)
	if m.Pinned && !IsPin(m.Name) {
		c.fail("%s: no file to pin it to can have this name", what)
	}
	if m.Update != 0 {
		c.within(what+": update", m.Update, elemSize, len(c.a.Blob))
	}
	for _, at := range m.Globals {
		c.within(what+": reference", at, 4, len(c.a.Blob))
	}
	for _, v := range m.Variables {
		if m.ValueSize > 0 {
			c.within(what+": variable "+v.Name, int(v.Offset), int(v.Size), int(m.ValueSize))
		}
	}
}

// IsPin reports whether a map of this name can be pinned: the name must be that of a file directly
// in the pin directory.
func IsPin(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
