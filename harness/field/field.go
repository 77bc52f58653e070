// Package field names the fields in which two loads are compared. A [Field] is one attribute of a
// map, program, function, link or load: "map .rodata flags". An [Aspect] is a field without names,
// which rules refer to.
package field

import (
	"slices"
	"strings"
)

// Kind is the kind of thing that a field belongs to.
type Kind string

// Kinds of fields.
const (
	KindMap      Kind = "map"
	KindProgram  Kind = "program"
	KindFunction Kind = "function" // of a program, including its main function
	KindLink     Kind = "link"
	KindLoad     Kind = "load"
	KindCPUs     Kind = "cpus"
)

// Aspect is a field without names. Rules are about aspects.
type Aspect struct {
	Kind      Kind
	Attribute string // "" is the map, program, function or link itself
}

// Field is one field that is compared.
type Field struct {
	Aspect
	Name string // of the map, program or link; for a function, of its program
	// Function is a function of the program, "" for the main function. In a field of a map it is
	// the program that the field is about.
	Function string
}

// Any is a wildcard that makes a [Field] a pattern. As a kind or name it matches any. As an
// attribute it matches any attribute, and functions themselves. It equals no real name, because
// names cannot contain a zero byte.
const Any = "\x00"

// Map returns a field of a map.
func Map(name, attribute string) Field { return Field{Aspect{KindMap, attribute}, name, ""} }

// Program returns a field of a program. With [Any] as attribute it also matches fields of the
// program's functions.
func Program(name, attribute string) Field { return Field{Aspect{KindProgram, attribute}, name, ""} }

// Function returns a field of a function.
func Function(program, name, attribute string) Field {
	return Field{Aspect{KindFunction, attribute}, program, name}
}

// Load returns a field of the outcome of a load.
func Load(attribute string) Field { return Field{Aspect: Aspect{KindLoad, attribute}} }

// With returns the field with another attribute.
func (f Field) With(attribute string) Field {
	f.Attribute = attribute
	return f
}

// Of returns the map, program, link or load that a field belongs to.
func (f Field) Of() Field {
	if f.Kind == KindFunction {
		f.Kind = KindProgram
	}
	return Field{Aspect{Kind: f.Kind}, f.Name, ""}
}

// Matches reports whether the field matches the pattern.
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

// String returns the text for reports: "map .rodata flags", "program run function left insns". In a
// pattern, [Any] is a star: "program run *insns" matches every function.
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

// MarshalText returns the text of String.
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a field from a report. A field of kind load is restored. Any other field
// becomes an attribute that holds the text, because names may contain spaces.
func (f *Field) UnmarshalText(b []byte) error {
	kind, attribute, _ := strings.Cut(string(b), " ")
	if *f = Load(attribute); Kind(kind) != KindLoad || f.String() != string(b) {
		*f = Field{Aspect: Aspect{Attribute: string(b)}}
	}
	return nil
}
