package runs

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// For each flag of vmtest it is decided whether a rerun copies it.
func TestFlagsOfAgain(t *testing.T) {
	not := strings.Fields("arch case expect fail-fast fault help jobs json junit keep kernel markdown memory-total only-failed out resume shard update-baseline verbose")
	var flags, want []string
	cmd := NewVMTest()
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
	for name := range sayAgain {
		want = append(want, name)
	}
	assert.Assert(t, is.Len(flags, len(want)+len(not)))
	for _, name := range append(want, not...) {
		assert.Assert(t, is.Contains(flags, name))
	}
}
