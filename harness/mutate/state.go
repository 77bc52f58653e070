package mutate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Change is one change of one field of a state.
type Change struct {
	// Name is the field and the kind of change, the same for all states: "map.flags other",
	// "program.functions.refs lost".
	Name string
	// What is the kind of change, such as "other". At is the map or program of the field, zero for
	// neither.
	What string
	At   field.Field
	Want Want

	do func()
}

// Pattern returns the field that must differ, in any map or program.
func (c *Change) Pattern() field.Field {
	f := c.Want.Field
	if c.At != none {
		f.Name = field.Any
	}
	return f
}

// Changes lists the changes of a state, one field at a time: numbers and texts are replaced, lists
// lose an element, and optional values are removed. They are derived from the type of the state, so
// that no field is forgotten.
func Changes(s *state.State) []Change {
	w := &walker{count: make(map[string]int)}
	w.value(reflect.ValueOf(s).Elem(), nil)
	return w.changes
}

// Apply returns a copy of s with change number n of Changes.
func Apply(s *state.State, n int) (*state.State, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	out := new(state.State)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, err
	}
	changes := Changes(out)
	if n >= len(changes) {
		return nil, fmt.Errorf("change %d of a state with %d fields", n, len(changes))
	}
	changes[n].do()
	return out, nil
}

// shown are fields of a state that only serve readers of differences, or the rules that explain
// some. Compare does not compare them themselves, for the given reason.
var shown = map[string]string{
	"btf":                     "maps and programs name the hash of their types; size and names are for listings and rules",
	"program.jited_lens.each": "lengths are information, as the JIT's choices depend on addresses; their number is compared",
}

// elsewhere maps fields outside maps and programs to the fields that differ if they change.
var elsewhere = map[string]field.Field{
	"cpus":    {Aspect: field.Aspect{Kind: field.KindCPUs}},
	"types":   {Aspect: field.Aspect{Kind: field.Any, Attribute: "types"}, Name: field.Any},
	"strings": field.Function(field.Any, field.Any, "line_info"),
}

// attributes are the names that [compare.States] gives to fields, if they differ from those in the
// state's JSON.
var attributes = map[string]string{
	"map.name":            "", // the map is missing, and one of another name is there
	"map.kernel_name":     "name",
	"map.netns_dev":       "netns",
	"map.netns_ino":       "netns",
	"map.extra":           "map_extra",
	"map.key":             "key_type",
	"map.value":           "value_type",
	"link.name":           "",
	"link.type":           "", // a link is compared as a whole
	"link.attach":         "",
	"link.target":         "",
	"program.name":        "",
	"program.kernel_name": "name",
	"program.netns_dev":   "netns",
	"program.netns_ino":   "netns",
	"program.hidden":      "dump",
	"program.unread":      "dump",
	"program.jited_lens":  "jited_functions",
	"function.name":       "",
	"function.proto":      "prototype",
	"function.tag":        "function_tag",
	"function.refs":       "insns",
	"function.refs.x":     "kfunc_index",
	"function.lines":      "line_info",
}

// field returns the pattern of the field that must differ.
func (w *walker) field(path string) field.Field {
	of, kind := w.at, string(w.at.Kind)
	first, path, _ := strings.Cut(path, ".")
	if of == none {
		return elsewhere[first]
	}
	if first, rest, _ := strings.Cut(path, "."); first == "functions" {
		of, kind, path = field.Function(of.Name, field.Any, ""), "function", rest
	}
	for p := kind + "." + path; strings.Contains(p, "."); p = p[:strings.LastIndexByte(p, '.')] {
		if known, ok := attributes[p]; ok {
			return of.With(known)
		}
	}
	name, _, _ := strings.Cut(path, ".")
	return of.With(name)
}

type walker struct {
	changes []Change
	at      field.Field    // the current map or program
	count   map[string]int // number of changes, by name and place
}

// each is how many changes of the same name are made in one map or program: those of the first two
// elements of a list.
const each = 2

// add records a change of the field at this path.
func (w *walker) add(path []string, what string, do func()) {
	full := strings.Join(path, ".")
	for s := range shown {
		if full == s || strings.HasPrefix(full, s+".") {
			return
		}
	}
	w.put(path, what, w.field(full), do)
}

// put records a change that must show in field f.
func (w *walker) put(path []string, what string, f field.Field, do func()) {
	name := strings.Join(path, " ") + " " + what
	key := w.at.String() + name
	if w.count[key]++; w.count[key] > each {
		return
	}
	w.changes = append(w.changes, Change{Name: name, What: what, At: w.at, Want: Want{Field: f}, do: do})
}

func (w *walker) value(v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.Struct:
		w.fields(v, path)
	case reflect.Pointer:
		if !v.IsNil() {
			w.add(path, "absent", v.SetZero)
			w.value(v.Elem(), path)
		}
	case reflect.String:
		w.add(path, "other", func() { v.SetString(v.String() + "x") })
	case reflect.Bool:
		w.add(path, "other", func() { v.SetBool(!v.Bool()) })
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.add(path, "other", func() { v.SetInt(v.Int() + 1) })
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.add(path, "other", func() { v.SetUint(v.Uint() ^ 1) })
	case reflect.Slice, reflect.Array:
		w.list(v, path)
	default:
		// The kind is unknown. A change that does nothing will count as missed.
		w.add(path, "other", func() {})
	}
}

// fields walks a struct by the names in its JSON.
func (w *walker) fields(v reflect.Value, path []string) {
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue // the comparison does not see it
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if len(path) == 0 {
			// The lists of a state have plural names.
			switch name {
			case "maps":
				name = "map"
			case "programs":
				name = "program"
			case "links":
				name = "link"
			}
		}
		if ref, ok := v.Addr().Interface().(*state.Ref); ok && !hasField(ref, name) {
			continue
		}
		w.value(v.Field(i), under(path, name))
	}
}

// hasField reports whether references of this kind have the field: only calls of kernel functions
// have an index, and only addresses in values an offset.
func hasField(r *state.Ref, name string) bool {
	switch name {
	case "x":
		return r.Kind == state.RefKfunc
	case "o":
		return r.Kind == state.RefValue
	}
	return true
}

// itself returns the field for the map, program or link as a whole.
func itself(path []string, v reflect.Value) field.Field {
	return field.Field{Aspect: field.Aspect{Kind: field.Kind(path[0])}, Name: v.FieldByName("Name").String()}
}

func under(path []string, name string) []string { return append(slices.Clone(path), name) }

func (w *walker) list(v reflect.Value, path []string) {
	of, at := v.Type().Elem().Kind(), w.at
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		if len(path) == 1 && of == reflect.Struct && path[0] != "btf" {
			w.at = itself(path, v.Index(v.Len()-1))
		}
		w.add(path, "lost", func() { v.SetLen(v.Len() - 1) })
		w.at = at
	}
	if v.Len() > 1 && of == reflect.String && v.Index(0).String() != v.Index(1).String() {
		w.add(path, "swapped", func() {
			a, b := v.Index(0).String(), v.Index(1).String()
			v.Index(0).SetString(b)
			v.Index(1).SetString(a)
		})
	}
	if f, ok := v.Interface().([]state.Function); ok && len(f) > 2 {
		w.put(path, "swapped", w.at.With("function_order"), func() { f[1], f[2] = f[2], f[1] })
	}
	for i := range v.Len() {
		e := v.Index(i)
		switch {
		case of == reflect.Uint8 && i == each:
			return // further bytes would add nothing
		case of != reflect.Struct:
			w.value(e, under(path, "each"))
		case len(path) == 1 && path[0] != "btf": // a map or program
			w.at = itself(path, e)
			w.value(e, path)
			w.at = at
		default:
			w.value(e, path)
		}
	}
}
