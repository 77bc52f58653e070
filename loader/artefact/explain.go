package artefact

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteManifest writes the manifest in the JSON form that the file has.
func (a *Artefact) WriteManifest(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(a.manifest())
}

// Explain writes a description of the loader program for people: its steps, the maps and programs
// that it creates, the settings that it takes, and the capabilities that it needs.
func (a *Artefact) Explain(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "# loader program of object %s, license %q: %d instructions, a blob of %d bytes, a context of %d bytes\n",
		printable(a.Object), a.License, len(a.Insns)/8, len(a.Blob), a.Context)
	for _, s := range a.Steps {
		fmt.Fprintf(tw, "step\t%s\t%s\tresult at %d of the context\n", s.Op, printable(s.Subject), s.Result)
	}
	for i := range a.Maps {
		m := &a.Maps[i]
		var more []string
		if m.ReadOnly {
			more = append(more, "read-only")
		}
		if m.Pinned {
			more = append(more, "pinned by name")
		}
		if m.Arena {
			more = append(more, "mapped before the run")
		}
		fmt.Fprintf(tw, "map\t%s\t%s\tkey %d, value %d, max_entries %d\t%s\n", printable(m.Name), m.Type, m.KeySize, m.ValueSize, m.MaxEntries, strings.Join(more, ", "))
	}
	for i := range a.Programs {
		p := &a.Programs[i]
		fmt.Fprintf(tw, "program\t%s\t%s\t%s\n", printable(p.Name), p.Type, printable(p.Section))
	}
	for i := range a.Settings {
		s := &a.Settings[i]
		fmt.Fprintf(tw, "set\t%s\t%d bytes at %d of the context\n", printable(s.String()), s.Size, s.Offset)
	}
	for _, n := range a.Needs {
		fmt.Fprintf(tw, "need\t%s\t%s\n", n.Capability, printable(n.Why))
	}
	if a.Signed != nil {
		for _, s := range a.Signed.List {
			fmt.Fprintf(tw, "signed\tcontract %s\tby key %x\tfor %s\n", s.Contract, a.Signed.KeyID, s.Contract.Kernels())
		}
	}
	return tw.Flush()
}

// printable quotes text from a file that could control a terminal.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
