package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

// schemaFile is for readers of reports. It is generated from the Go types and their comments: go
// test ./harness/report -run Schema -update
const schemaFile = "docs/report.schema.json"

const module = "github.com/bpfreplay/bpfreplay/"

// words are the values of enumerated types.
var words = map[reflect.Type][]any{
	reflect.TypeFor[result.Verdict](): {result.Equal, result.Explained, result.Unsupported, result.Different, result.Broken},
	reflect.TypeFor[result.RunState](): {
		result.Waiting, result.Fetching, result.Running, result.Done, result.Unavailable, result.Failed, result.LeftOut,
	},
}

func makeSchema(t *testing.T) []byte {
	r := &jsonschema.Reflector{
		AllowAdditionalProperties: true, // fields may be added without a new version
		Anonymous:                 true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if list, ok := words[t]; ok {
				return &jsonschema.Schema{Type: "string", Enum: list}
			}
			if t == reflect.TypeFor[field.Field]() {
				return &jsonschema.Schema{Type: "string"}
			}
			return nil
		},
	}
	for _, dir := range []string{"harness", "harness/state"} {
		assert.NilError(t, r.AddGoComments(module, dir))
	}
	matrix := r.Reflect(result.Matrix{}) // contains reports
	matrix.Ref, matrix.Version = "", "https://json-schema.org/draft/2020-12/schema"
	matrix.Title = "Reports of bpfreplay, schema 1: matrix.json and report.json"
	matrix.Description = "Fields are added without notice; what a reader must not pass over comes with another number in schema."
	matrix.OneOf = []*jsonschema.Schema{{Ref: "#/$defs/Matrix"}, {Ref: "#/$defs/Report"}}
	for _, name := range []string{"Matrix", "Report"} {
		version, ok := matrix.Definitions[name].Properties.Get("schema")
		assert.Assert(t, ok)
		version.Const = Schema
	}
	b, err := json.MarshalIndent(matrix, "", "  ")
	assert.NilError(t, err)
	return append(b, '\n')
}

// The committed schema is that of the Go types.
func TestSchema(t *testing.T) {
	t.Chdir("../..") // comments are read from the source
	want := makeSchema(t)
	if golden.FlagUpdate() {
		assert.NilError(t, os.WriteFile(schemaFile, want, 0o644))
	}
	got, err := os.ReadFile(schemaFile)
	assert.NilError(t, err)
	assert.Equal(t, string(got), string(want), "run: go test ./harness/report -run Schema -update")
}

// Reports of real runs conform to the schema, and the schema can reject a report.
func TestSchemaOfReports(t *testing.T) {
	schema, err := validate.NewCompiler().Compile("../../" + schemaFile)
	assert.NilError(t, err)
	check := func(data []byte) error {
		v, err := validate.UnmarshalJSON(bytes.NewReader(data))
		assert.NilError(t, err)
		return schema.Validate(v)
	}
	for _, path := range realReports(t) {
		data, err := os.ReadFile(path)
		assert.NilError(t, err)
		assert.NilError(t, check(data), path)
		for _, broken := range [][2]string{
			{`"verdict": "equal"`, `"verdict": "fine"`}, {`"schema": 1`, `"schema": 2`}, {`"engine":`, `"motor":`},
			{`"state": "done"`, `"state": "well"`}, {`"nanoseconds": `, `"nanoseconds": "long", "n": `},
		} {
			changed := bytes.ReplaceAll(data, []byte(broken[0]), []byte(broken[1]))
			assert.Assert(t, !bytes.Equal(changed, data), "%s has no %s", path, broken[0])
			assert.Assert(t, check(changed) != nil, "%s: %s", path, broken[1])
		}
	}
}

// realReports returns reports that were written by runs on real kernels:
//
//	bpfreplay matrix --kernel '6.12 5.10 6.1' --case 'prog_x*' --case 'data_s*' --case 'fail_v*' --mutate drop-freeze --shard I/2
func realReports(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/shard-*.json")
	assert.NilError(t, err)
	assert.Equal(t, len(files), 2)
	return files
}
