package mutate

import (
	"reflect"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// full returns a state in which no field has its zero value. It is derived from the type, so new
// fields are included.
func full() *state.State {
	s := new(state.State)
	n := 0
	fill(reflect.ValueOf(s).Elem(), &n)
	// References must have a target.
	for i := range s.Maps {
		s.Maps[i].Types = []uint32{0, 1, 2}
	}
	for i := range s.Programs {
		s.Programs[i].Types = []uint32{0, 1, 2}
		s.Programs[i].Unread = false // otherwise the instructions are not compared
		for k := range s.Programs[i].Functions {
			f := &s.Programs[i].Functions[k]
			f.Lines = [][2]uint32{{0, 0}, {1, 1}, {2, 2}}
			for at := range f.Refs {
				f.Refs[at].At, f.Refs[at].Kind = uint32(at), []state.RefKind{state.RefKfunc, state.RefValue}[at%2]
			}
		}
	}
	return s
}

// fill gives each field a different value, and lists three elements.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.String:
		v.SetString("text" + string(rune('a'+*n%26)) + strings.Repeat("z", *n/26))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 200))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	}
}

// TestEachFieldIsCompared: the comparison detects a change of any field of a state, as that field.
// Exceptions are listed in shown, with a reason.
func TestEachFieldIsCompared(t *testing.T) {
	ca := compare.Context{Engine: enginename.Trace, Release: "6.12.1"}
	cb := compare.Context{Engine: enginename.Replay, Release: "6.12.1"}
	plain := full()
	assert.Equal(t, len(compare.States(plain, full(), ca, cb)), 0)
	named := make(map[field.Aspect]bool)
	for n, c := range Changes(plain) {
		changed, err := Apply(plain, n)
		assert.NilError(t, err)
		found := Found{Differences: compare.States(plain, changed, ca, cb)}
		outcome, text := c.Want.Judge(&found)
		assert.Check(t, outcome == Caught, "%s of %s, wanted as %q: %s: %s", c.Name, c.At, c.Want.Field, outcome, text)
		for _, d := range found.Differences {
			named[d.Field.Aspect] = true
		}
	}
	assert.Equal(t, len(compare.States(plain, full(), ca, cb)), 0, "a change went through to the original")
	for _, f := range compare.Aspects() {
		assert.Check(t, named[f.Aspect], "no change of a state shows in %s", f)
	}
}

// TestShownOnly: the fields that are not compared still exist.
func TestShownOnly(t *testing.T) {
	names := make(map[string]bool)
	var walk func(t reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		names[path] = true
		switch typ.Kind() {
		case reflect.Slice, reflect.Array, reflect.Pointer:
			if typ.Elem().Kind() != reflect.Struct && typ.Kind() != reflect.Pointer {
				path += ".each"
			}
			walk(typ.Elem(), path)
		case reflect.Struct:
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				name = strings.TrimPrefix(path+"."+name, ".")
				switch name {
				case "maps":
					name = "map"
				case "programs":
					name = "program"
				case "links":
					name = "link"
				}
				walk(typ.Field(i).Type, name)
			}
		}
	}
	walk(reflect.TypeFor[state.State](), "")
	for name, reason := range shown {
		assert.Check(t, names[name], "there is no field %s", name)
		assert.Check(t, reason != "", name)
	}
}

func TestApplyBeyond(t *testing.T) {
	_, err := Apply(&state.State{}, 1000)
	assert.ErrorContains(t, err, "change 1000 of a state")
}
