package vmimage

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/cache"
)

// TestReach: each place is asked once, and nothing is fetched.
func TestReach(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	a.detached = true
	server := serve(t, a)
	registry := newRegistry(t)
	registry.pushImage(t, "there", "amd64", kernelLayer())
	s := newSetting(t, keyring(t, a.key))
	config := testConfig + fmt.Sprintf(`
  - {name: image, arch: amd64, sources: [{oci: {image: %[1]q, tag: there}}]}
  - {name: gone, arch: amd64, sources: [{oci: {image: %[1]q, tag: gone}}]}
  - {name: url, arch: amd64, sources: [{url: {address: "%[2]s/nowhere", sha256: %[3]s}}, {url: {address: "%[2]s/debian/dists/bookworm/Release", sha256: %[3]s}}]}
  - {name: file, arch: amd64, sources: [{file: none}]}
  - {name: tree, arch: amd64, sources: [{tree: .}]}
`, registry.image(), server.URL, strings.Repeat("0", 64))
	assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
	store := s.open(t)
	got := make(map[string]string)
	for _, r := range store.Reach(t.Context()) {
		got[r.Name] = r.Source
		if r.Source == "" {
			got[r.Name] = fmt.Sprint(r.Failed)
		}
	}
	for name, want := range map[string]string{
		"6.1": "Debian bookworm", "stable": "Debian bookworm", "rc": "[Debian sid: ", "5.13": "[Debian experimental of " + timestamp + ": ",
		"5.10":  "Debian bullseye: ",
		"image": "OCI image " + registry.image() + ":there", "gone": "[OCI image " + registry.image() + ":gone: not there (404)]",
		"url": server.URL + "/debian/dists/bookworm/Release", "file": "none: no such file or directory]", "tree": "is no kernel tree",
	} {
		assert.Check(t, is.Contains(got[name], want), name)
	}
	assert.Equal(t, server.count("/dists/bookworm/InRelease"), 1)
	assert.Equal(t, server.count("Packages"), 0)
	s.assertNothingLeft(t, cache.Kernels, cache.Blobs)
}
