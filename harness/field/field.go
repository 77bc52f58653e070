// Package field names what is compared between two loads.
package field

import (
	"slices"
	"strings"
)

// Kind is what a field is of.
type Kind string

// Kinds of fields.
const (
	KindMap      Kind = "map"
	KindProgram  Kind = "program"
	KindFunction Kind = "function" // of a program, its main one too
	KindLink     Kind = "link"
	KindLoad     Kind = "load"
	KindCPUs     Kind = "cpus"
)

// Aspect is a field without the names in it. Rules are about aspects.
type Aspect struct {
	Kind      Kind
	Attribute string // "" is the map, program, function or link itself
}

// Field is one thing that is compared.
type Field struct {
	Aspect
	Name string // of the map, program or link; a function has its program's here
	// Function is a function of the program, "" for the main one. In a field of a map it is
	// the program that the field is about.
	Function string
}

// Any makes a [Field] a pattern: as a kind or name it stands for each; as an attribute for
// each, too, and for functions themselves. No name equals it, as names end at a zero byte.
const Any = "\x00"

// Map returns a field of a map.
func Map(name, attribute string) Field { return Field{Aspect{KindMap, attribute}, name, ""} }

// Program returns a field of a program. With [Any] as attribute it stands for those of the
// program's functions, too.
func Program(name, attribute string) Field { return Field{Aspect{KindProgram, attribute}, name, ""} }

// Function returns a field of a function.
func Function(program, name, attribute string) Field {
	return Field{Aspect{KindFunction, attribute}, program, name}
}

// Load returns a field of how a load ends.
func Load(attribute string) Field { return Field{Aspect: Aspect{KindLoad, attribute}} }

// With returns the field of the same thing with this attribute.
func (f Field) With(attribute string) Field {
	f.Attribute = attribute
	return f
}

// Of returns the map, program, link or load that a field is of.
func (f Field) Of() Field {
	if f.Kind == KindFunction {
		f.Kind = KindProgram
	}
	return Field{Aspect{Kind: f.Kind}, f.Name, ""}
}

// Matches reports whether the pattern stands for the field.
func (f Field) Matches(pattern Field) bool {
	is := func(value, want string) bool { return want == Any || value == want }
	if pattern.Attribute == Any {
		if f.Attribute == "" && f.Kind != KindFunction {
			return false
		}
		f.Attribute = Any
		if pattern.Kind == KindProgram {
			f.Kind, f.Function = f.Of().Kind, ""
		}
	}
	return is(string(f.Kind), string(pattern.Kind)) && is(f.Name, pattern.Name) && is(f.Function, pattern.Function) &&
		f.Attribute == pattern.Attribute
}

// String is the text of reports: "map .rodata flags", "program run function left insns". A
// pattern has stars: "program run *insns" is of each function.
func (f Field) String() string {
	words := []string{string(f.Kind), f.Name}
	switch f.Kind {
	case KindMap, KindProgram, KindLink:
	case KindFunction:
		words[0] = string(KindProgram)
		if f.Function == Any && f.Attribute != "" {
			f.Attribute = Any + strings.TrimPrefix(f.Attribute, Any)
		} else if f.Function != "" {
			words = append(words, "function", f.Function)
		}
	default:
		words = slices.DeleteFunc(words[:1], func(kind string) bool { return kind == "" })
	}
	if f.Attribute != "" {
		words = append(words, f.Attribute)
	}
	if f.Kind == KindMap && f.Function != "" {
		words = append(words, f.Function)
	}
	return strings.ReplaceAll(strings.Join(words, " "), Any, "*")
}

// MarshalText returns what String does.
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a field of a report. Only how a load ends becomes the same value again;
// of anything else it is the text.
func (f *Field) UnmarshalText(b []byte) error {
	kind, attribute, _ := strings.Cut(string(b), " ")
	if *f = Load(attribute); Kind(kind) != KindLoad || f.String() != string(b) {
		*f = Field{Aspect: Aspect{Attribute: string(b)}}
	}
	return nil
}
