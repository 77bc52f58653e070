package exercise

import (
	"encoding/binary"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

func entry(key byte, value ...byte) state.Entry {
	return state.Entry{Key: []byte{key, 0, 0, 0}, Value: value}
}

func contents(entries ...state.Entry) *state.State {
	return &state.State{Maps: []state.Map{{Name: "m", Contents: state.Contents{Entries: entries}}}}
}

func TestChanges(t *testing.T) {
	for name, test := range map[string]struct {
		before, after *state.State
		want          map[string]string // by place
	}{
		"none":           {contents(entry(1, 7)), contents(entry(1, 7)), map[string]string{}},
		"another word":   {contents(entry(1, 7, 0, 0, 0, 0, 0, 0, 0, 9)), contents(entry(1, 7, 0, 0, 0, 0, 0, 0, 0, 8)), map[string]string{"[01 00 00 00]+8": "08 00 00 00 00 00 00 00"}},
		"zero now":       {contents(entry(0, 7)), contents(entry(0)), map[string]string{"[0]+0": "00 00 00 00 00 00 00 00"}},
		"new":            {contents(), contents(entry(1)), map[string]string{"[01 00 00 00]": "new"}},
		"gone":           {contents(entry(1)), contents(), map[string]string{"[01 00 00 00]": "gone"}},
		"another object": {contents(state.Entry{Key: []byte{1}, Ref: "a"}), contents(state.Entry{Key: []byte{1}, Ref: "b"}), map[string]string{"[01]": "b"}},
		"another map":    {&state.State{}, contents(entry(1)), map[string]string{}},
	} {
		got := effects.Sample{}
		Changes(got, test.before, test.after)
		want := effects.Sample{}
		for at, value := range test.want {
			want[effects.Effect{Field: contentsOf("m"), Place: at}] = value
		}
		assert.Equal(t, len(got), len(want), name)
		assert.DeepEqual(t, got, want)
	}
}

func TestManyChanges(t *testing.T) {
	before, after := contents(), contents()
	for i := range uint32(maxWords + 1) {
		key := binary.LittleEndian.AppendUint32(nil, i)
		after.Maps[0].Contents.Entries = append(after.Maps[0].Contents.Entries, state.Entry{Key: key, Value: []byte{1}})
	}
	got := effects.Sample{}
	Changes(got, before, after)
	assert.Equal(t, len(got), 1)
	first := got[effects.Effect{Field: contentsOf("m")}]
	assert.Assert(t, strings.HasPrefix(first, "514 words changed, hash "), first)

	after.Maps[0].Contents.Entries[100].Value = []byte{2}
	Changes(got, before, after)
	assert.Assert(t, got[effects.Effect{Field: contentsOf("m")}] != first)
}

// TestStructOpsContents: for a struct_ops map the contents are recorded, not the changes, because
// some engines set it on load.
func TestStructOpsContents(t *testing.T) {
	s := contents(state.Entry{Key: make([]byte, 4), Ref: "READY init=run", Value: []byte{0, 1}})
	s.Maps[0].Type = uapi.MapStructOps
	got := effects.Sample{}
	Changes(got, s, s)
	assert.DeepEqual(t, got, effects.Sample{{Field: contentsOf("m")}: "READY init=run, 00 01"})
}
