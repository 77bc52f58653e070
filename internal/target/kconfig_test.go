package target

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestVersionCode(t *testing.T) {
	for text, want := range map[string]uint32{
		"6.1.192-3 (2026-07-01)": 6<<16 | 1<<8 | 192,
		"5.10.262-1":             5<<16 | 10<<8 | 255,
		"7.3.0-rc7":              7<<16 | 3<<8,
		"7.3~rc7-1~exp1":         7<<16 | 3<<8,
		"7.3-cloud-amd64":        7<<16 | 3<<8,
	} {
		got, ok := versionCode(text)
		assert.Assert(t, ok, text)
		assert.Equal(t, got, want, text)
	}
	for _, text := range []string{"", "7", "x.y.z", "v6.1.2"} {
		_, ok := versionCode(text)
		assert.Assert(t, !ok, text)
	}
}
