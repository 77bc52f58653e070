package field

import (
	"encoding/json"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// TestText: fields are text in reports, and reading them back gives the same text.
func TestText(t *testing.T) {
	for text, f := range map[string]Field{
		`"cpus"`:                              {Aspect: Aspect{Kind: KindCPUs}},
		`"load"`:                              Load(""),
		`"load errno"`:                        Load("errno"),
		`"map .rodata"`:                       Map(".rodata", ""),
		`"map counts contents after runs"`:    Map("counts", "contents after runs"),
		`"program run run tcp4 returns"`:      Program("run", "run tcp4 returns"),
		`"program run function left"`:         Function("run", "left", ""),
		`"program run function left insns"`:   Function("run", "left", "insns"),
		`"link run"`:                          {Aspect{KindLink, ""}, "run", ""},
		`"program run insns"`:                 Function("run", "", "insns"),
		`"program run function_order"`:        Program("run", "function_order"),
		`"what reports of another day had  "`: {Aspect: Aspect{"", "what reports of another day had  "}},
	} {
		got, err := json.Marshal(f)
		assert.NilError(t, err)
		assert.Equal(t, string(got), text)
		var back Field
		assert.NilError(t, json.Unmarshal(got, &back))
		assert.Equal(t, back.String(), f.String())
		assert.Equal(t, back == f, f.Kind == KindLoad || f.Kind == "", "a value for those that are asked for")
	}
	ran := Map("ops", "ran")
	ran.Function = "init"
	assert.Equal(t, ran.String(), "map ops ran init")
	assert.Equal(t, Function("run", Any, "insns").String(), "program run *insns")
	assert.Equal(t, Function("run", Any, Any).String(), "program run *")
	assert.Equal(t, Function(Any, Any, "").String(), "program * function *")
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"", " ", "map", "map ", "map  flags", "program a function ", "program a function  b", "load ", "x y", "function a b", "program a \x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var field Field
		assert.NilError(t, field.UnmarshalText(text))
		assert.Equal(t, field.String(), strings.ReplaceAll(string(text), Any, "*"))
	})
}

func TestMatches(t *testing.T) {
	left, insns := Function("run", "left", "insns"), Function("run", "", "insns")
	for _, test := range []struct {
		pattern Field
		f       Field
		want    bool
	}{
		{Map("a", "flags"), Map("a", "flags"), true},
		{Map("a", "flags"), Map("a", "flag"), false},
		{Map("a", "flags"), Map("b", "flags"), false},
		{Map(Any, "flags"), Map("a", "flags"), true},
		{Map(Any, "flags"), Program("a", "flags"), false},
		{Map(Any, "contents"), Map("a", "contents after runs"), false},
		{Map("a", Any), Map("a", "flags"), true},
		{Map("a", Any), Map("a", ""), false},
		{Map(Any, ""), Map("a", ""), true},
		{Field{Aspect{Any, "types"}, Any, ""}, Map("a", "types"), true},
		{Field{Aspect{Any, "types"}, Any, ""}, Program("a", "types"), true},
		{Function("run", "", "insns"), insns, true},
		{Function("run", "", "insns"), left, false},
		{Function("run", Any, "insns"), insns, true},
		{Function("run", Any, "insns"), left, true},
		{Function("run", Any, Any), Program("run", "tag"), false},
		{Function("run", Any, Any), Function("run", "left", ""), true},
		{Program("run", Any), Program("run", "tag"), true},
		{Program("run", Any), Program("run", ""), false},
		{Program("run", Any), Function("run", "left", ""), true},
		{Program("run", Any), insns, true},
		{Program(Any, Any), left, true},
		{Program("run", "insns"), insns, false},
		{Field{}, Map("a", "flags"), false},
		// Words inside a name are not taken for parts of the field.
		{Function("a", Any, "insns"), Function("a function b", "", "insns"), false},
		{Function("a", "b", "insns"), Function("a function b", "", "insns"), false},
		{Map("a", Any), Map("a b", "flags"), false},
		{Map("*", "flags"), Map("a", "flags"), false},
		{Map("*", "flags"), Map("*", "flags"), true},
	} {
		assert.Check(t, test.f.Matches(test.pattern) == test.want, "%s %s", test.pattern, test.f)
	}
}

func TestOf(t *testing.T) {
	assert.Equal(t, Function("run", "left", "insns").Of(), Program("run", ""))
	assert.Equal(t, Map("a", "flags").Of(), Map("a", ""))
	assert.Equal(t, Load("errno").Of(), Load(""))
}
