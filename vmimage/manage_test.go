package vmimage

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func TestReady(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "kernels.yaml")
	assert.NilError(t, os.WriteFile(config, []byte(testConfig), 0o644))
	s, err := Open(Options{Config: config, Cache: filepath.Join(dir, "cache")})
	assert.NilError(t, err)
	defer s.Close()
	here, others, err := s.Ready([]string{"6.1", "/boot/vmlinuz", "5.10"})
	assert.NilError(t, err)
	assert.DeepEqual(t, here, []string{"/boot/vmlinuz"})
	assert.DeepEqual(t, others, []string{"6.1", "5.10"})
}
