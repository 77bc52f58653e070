package vmimage

import (
	"archive/tar"
	"io"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestPackages(t *testing.T) {
	stable, sid := newArchive(t, "bookworm"), newArchive(t, "sid")
	for _, version := range []string{"7.1.9-1", "7.1.10-1", "7.1.10~rc1-1"} {
		stable.add("linux-source-7.1", version, "", fake.Deb("xz", map[string][]byte{"./usr/src/text": []byte(version)}))
	}
	sid.add("linux-source-7.2", "7.2.1-1", "", fake.Deb("gz", map[string][]byte{"./usr/src/text": []byte("sid")}))
	sid.old("6.12.1-cloud-amd64", "6.12.1-1")
	server := serve(t, stable, sid)
	s := newSetting(t, keyring(t, stable.key, sid.key)).open(t)

	found, err := s.Packages(t.Context(), "amd64", []string{"bookworm", "sid"}, "linux-source-7.*")
	assert.NilError(t, err)
	var versions []string
	for _, p := range found {
		versions = append(versions, p.Version)
	}
	assert.Check(t, is.DeepEqual(versions, []string{"7.2.1-1", "7.1.10-1", "7.1.10~rc1-1", "7.1.9-1"}))

	text := ""
	read := func(h *tar.Header, r io.Reader) error {
		if filepath.Base(h.Name) != "text" {
			return nil
		}
		b, err := io.ReadAll(r)
		text = string(b)
		return err
	}
	assert.NilError(t, s.ReadPackage(t.Context(), &found[0], read))
	assert.Check(t, is.Equal(text, "sid"))

	server.change(t, "linux-source-7.1_7.1.10-1_amd64.deb", flip)
	assert.ErrorIs(t, s.ReadPackage(t.Context(), &found[1], read), digest.ErrIntegrity)
	server.change(t, "linux-source-7.1_7.1.9-1_amd64.deb", gone)
	assert.ErrorIs(t, s.ReadPackage(t.Context(), &found[3], read), fetch.ErrGone)

	_, err = s.Packages(t.Context(), "amd64", []string{"sid"}, "linux-source-9.*")
	assert.ErrorContains(t, err, "no package in sid is called linux-source-9.*")
	_, err = s.Packages(t.Context(), "amd64", []string{"sid"}, "[")
	assert.ErrorContains(t, err, "syntax error")
	server.change(t, "dists/sid/InRelease", flip)
	_, err = s.Packages(t.Context(), "amd64", []string{"bookworm", "sid"}, "linux-source-7.*")
	assert.ErrorIs(t, err, digest.ErrIntegrity)
}
