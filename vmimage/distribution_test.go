package vmimage

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestRelated(t *testing.T) {
	for suite, want := range map[string]string{
		"bookworm": "bookworm bookworm-security", "trixie-security": "trixie trixie-security",
		"trixie-backports": "trixie trixie-security / trixie-backports", "sid": "sid", "experimental": "sid / experimental",
	} {
		var got []string
		for _, rank := range related(suite, false) {
			got = append(got, strings.Join(rank, " "))
		}
		assert.Check(t, is.Equal(strings.Join(got, " / "), want))
	}
	assert.Check(t, is.DeepEqual(related("sid", true), [][]string{{"sid"}}))
	assert.Check(t, is.DeepEqual(related("bullseye", true), [][]string{{"bullseye"}}))
}

// TestDistribution: packages only come from the kernel's part of the archive.
func TestDistribution(t *testing.T) {
	main, sid, security := newArchive(t, "bookworm"), newArchive(t, "sid"), newArchive(t, "bookworm-security")
	security.prefix = "/debian-security"
	main.old("6.1.0-1-cloud-amd64", "6.1.1-1")
	main.add("linux-headers-6.1.0-1-cloud-amd64", "6.1.1-1", "gcc-12", fake.Deb("gz", nil))
	main.add("gcc-12", "12.2-1", "libc6", fake.Deb("gz", nil))
	main.add("libc6", "2.36-1", "", fake.Deb("gz", nil))
	security.add("libc6", "2.36-2", "", fake.Deb("gz", nil))
	sid.add("gcc-12", "12.5-1", "", fake.Deb("gz", nil))
	serve(t, main, sid, security)
	s := newSetting(t, keyring(t, main.key, sid.key, security.key)).open(t)
	k, err := s.Resolve(t.Context(), "6.1")
	assert.NilError(t, err)

	d, err := s.Distribution(k)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(d.Suites(), []string{"bookworm", "bookworm-security"}))
	found, err := d.Closure(t.Context(), []string{"linux-headers-" + k.Release}, func(string) bool { return false })
	assert.NilError(t, err)
	var got []string
	for _, p := range found {
		got = append(got, p.Name+" "+p.Version+" "+p.Suite)
		assert.Check(t, p.from.Archive != "" && p.from.Path != "" && p.SHA256 != "")
	}
	assert.Check(t, is.DeepEqual(got, []string{
		"gcc-12 12.2-1 bookworm", "libc6 2.36-2 bookworm-security", "linux-headers-6.1.0-1-cloud-amd64 6.1.1-1 bookworm",
	}))
	_, err = d.Closure(t.Context(), []string{"linux-headers-6.1.0-2-cloud-amd64"}, func(string) bool { return false })
	assert.ErrorIs(t, err, fetch.ErrGone)
	found, err = d.Find(t.Context(), "libc*")
	assert.NilError(t, err)
	assert.Check(t, is.Len(found, 2))
	assert.Check(t, is.Equal(found[0].Version, "2.36-2"))
	_, err = d.Find(t.Context(), "[")
	assert.ErrorContains(t, err, "syntax error")

	for _, other := range []*Kernel{{Name: "6.1"}, {Name: "/boot/vmlinuz", key: "x"}, {Name: "6.1", key: "another"}} {
		_, err = s.Distribution(other)
		assert.Check(t, is.ErrorIs(err, ErrNoDistribution), other.Name)
	}
}
