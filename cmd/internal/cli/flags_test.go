package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"gotest.tools/v3/assert"
)

// Help shows each flag once, below its heading.
func TestHelpOfFlags(t *testing.T) {
	values := make(Flags)
	for name, info := range Table {
		values[name] = new(bool)
		assert.Check(t, slices.Contains(Headings, info.Heading), "--%s: no heading is called %q", name, info.Heading)
	}
	delete(values, "engine") // it has the letter of --engines
	cmd := &cobra.Command{Use: "all"}
	AddFlags(cmd, values)
	heading, seen := "", make(map[string]string)
	for line := range strings.Lines(usageOfFlags(cmd)) {
		if h, ok := strings.CutSuffix(line, ":\n"); ok {
			heading = h
			continue
		}
		if _, rest, ok := strings.Cut(line, "--"); ok && strings.HasPrefix(line, " ") {
			name := strings.Fields(rest)[0]
			assert.Check(t, seen[name] == "", "--%s is there twice", name)
			seen[name] = heading
		}
	}
	for name := range values {
		assert.Check(t, seen[name] == Table[name].Heading, "--%s stands below %q", name, seen[name])
	}
}
