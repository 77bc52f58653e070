package exercise

import (
	"bytes"
	"fmt"
	"hash/fnv"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// wordSize is the unit in which contents are compared, in bytes. A smaller unit would split
// counters: a byte of a noisy counter may look stable.
const wordSize = 8

// maxWords is the largest number of changed words of a map that are recorded one by one. For more,
// there is one effect with a hash.
const maxWords = 256

// Changes adds the changes of map contents to a sample. before and after were captured before and
// after [Sandbox.Run].
func Changes(s effects.Sample, before, after *state.State) {
	had := make(map[string]*state.Map)
	for i := range before.Maps {
		had[before.Maps[i].Name] = &before.Maps[i]
	}
	for i := range after.Maps {
		m := &after.Maps[i]
		if m.Type == uapi.MapStructOps {
			structOpsContents(s, m) // some engines set it on load, so record the contents, not the change
			continue
		}
		if old := had[m.Name]; old != nil {
			mapChanges(s, m.Name, old.Contents.Entries, m.Contents.Entries)
		}
	}
}

// contentsOf returns the field for the contents of a map after the trigger.
func contentsOf(name string) field.Field { return field.Map(name, "contents after trigger") }

// structOpsContents records the contents of a struct_ops map.
func structOpsContents(s effects.Sample, m *state.Map) {
	for _, e := range m.Contents.Entries {
		s.Set(contentsOf(m.Name), fmt.Sprintf("%s, % x", e.Ref, e.Value))
	}
}

func mapChanges(s effects.Sample, name string, before, after []state.Entry) {
	found := make(map[string]string)
	old := make(map[string]state.Entry, len(before))
	for _, e := range before {
		old[string(e.Key)] = e
	}
	for _, e := range after {
		o, there := old[string(e.Key)]
		delete(old, string(e.Key))
		entryChanges(found, o, e, there)
	}
	for _, e := range old {
		found[place(e.Key)] = "gone"
	}
	if len(found) <= maxWords {
		for at, value := range found {
			s[effects.Effect{Field: contentsOf(name), Place: at}] = value
		}
		return
	}
	h := fnv.New64a()
	for _, e := range after {
		fmt.Fprintf(h, "%x %x %s\n", e.Key, e.Value, e.Ref)
	}
	s.Set(contentsOf(name), fmt.Sprintf("%d words changed, hash %x", len(found), h.Sum64()))
}

func entryChanges(found map[string]string, before, after state.Entry, there bool) {
	at := place(after.Key)
	if before.Ref != after.Ref {
		found[at] = after.Ref
	}
	if !there && after.Ref == "" {
		found[at] = "new"
	}
	for off := 0; off < max(len(before.Value), len(after.Value)); off += wordSize {
		x, y := word(before.Value, off), word(after.Value, off)
		if x != y {
			found[fmt.Sprintf("%s+%d", at, off)] = fmt.Sprintf("% x", y[:])
		}
	}
}

// word returns the word at an offset of a value whose trailing zeros are missing.
func word(value []byte, off int) (w [wordSize]byte) {
	copy(w[:], value[min(off, len(value)):])
	return w
}

func place(key []byte) string {
	if bytes.Count(key, []byte{0}) == len(key) {
		return "[0]"
	}
	return fmt.Sprintf("[% x]", key)
}
