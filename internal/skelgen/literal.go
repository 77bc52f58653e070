package skelgen

import (
	"fmt"
	"reflect"
	"strings"
)

// literal returns a value of package artefact as a Go expression of package skel, without zero
// fields. Type names are the same in both packages.
func literal(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return "&" + literal(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("[]byte(%q)", v.Bytes())
		}
		var b strings.Builder
		fmt.Fprintf(&b, "[]%s{", typeName(v.Type().Elem()))
		for i := range v.Len() {
			text := literal(v.Index(i))
			if v.Type().Elem().Kind() == reflect.Struct {
				text = "\n" + text[strings.IndexByte(text, '{'):]
			}
			b.WriteString(text + ",")
		}
		return b.String() + "}"
	case reflect.Struct:
		var b strings.Builder
		fmt.Fprintf(&b, "%s{", typeName(v.Type()))
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() && (f.Kind() != reflect.Slice || f.Len() > 0) {
				fmt.Fprintf(&b, "%s: %s, ", v.Type().Field(i).Name, literal(f))
			}
		}
		return b.String() + "}"
	}
	text := fmt.Sprintf("%#v", v.Interface())
	if v.Kind() == reflect.Array {
		return inSkel.Replace(text)
	}
	return text
}

func typeName(t reflect.Type) string {
	return inSkel.Replace(t.String())
}

// inSkel translates type names to package skel.
var inSkel = strings.NewReplacer("artefact.", "skel.", "contract.", "skel.")
