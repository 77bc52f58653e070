package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

const selectYAML = `
kernels:
  - {name: "5.10", arch: amd64, tiers: [smoke, all], sources: [{file: a}]}
  - {name: "6.1", arch: amd64, tiers: [all], sources: [{file: b}]}
  - {name: smoke, arch: amd64, tiers: [all], sources: [{file: c}]}
  - {name: rc, arch: amd64, tiers: [nightly], sources: [{file: d}]}
`

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	c, err := parse([]byte(selectYAML))
	assert.NilError(t, err)
	image := filepath.Join(dir, "bz Image, mine")
	assert.NilError(t, os.WriteFile(image, nil, 0o644))
	for _, test := range []struct {
		spec string
		want []string
		err  string
	}{
		{spec: "6.1", want: []string{"6.1"}},
		{spec: " 6.1  5.10,6.1", want: []string{"6.1", "5.10"}},
		{spec: "all", want: []string{"5.10", "6.1", "smoke"}},
		{spec: "smoke", want: []string{"smoke"}}, // the kernel, not the tier
		{spec: "nightly 5.10", want: []string{"rc", "5.10"}},
		{spec: image, want: []string{image}},
		{spec: "6.1 " + dir, want: []string{"6.1", dir}},
		{spec: " ", err: "no kernel was named; kernels.yaml has 5.10, 6.1, smoke, rc"},
		{spec: "6.1 9.9", err: `no kernel is called "9.9" and no such file exists; kernels.yaml has`},
		{spec: "6.1 ./none", err: "kernel: stat ./none: no such file"},
	} {
		got, err := c.Expand(test.spec)
		if test.err != "" {
			assert.ErrorContains(t, err, test.err, "%q", test.spec)
			continue
		}
		assert.NilError(t, err, "%q", test.spec)
		assert.DeepEqual(t, got, test.want)
	}
}
