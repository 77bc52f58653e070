package askbpf

import (
	"os"
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

func TestMain(m *testing.M) {
	if isChild() && os.Getenv("ASKBPF_TEST_STUCK") != "" {
		time.Sleep(time.Hour)
	}
	Child()
	os.Exit(m.Run())
}

// Ask gives up on a kernel that does not answer, whatever the child does.
func TestStuck(t *testing.T) {
	t.Setenv("ASKBPF_TEST_STUCK", "1")
	t.Setenv("TMPDIR", t.TempDir())
	err := Ask(50 * time.Millisecond)
	assert.ErrorContains(t, err, "the kernel has not loaded a program within 50ms")
	left, err := os.ReadDir(os.TempDir())
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}
