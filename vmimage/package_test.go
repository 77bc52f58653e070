package vmimage

import (
	"archive/tar"
	"errors"
	"io"
	"os"
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

func TestMakeDir(t *testing.T) {
	set := newSetting(t)
	s := set.open(t)
	made := 0
	fill := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	}
	_, err := s.MakeDir(t.Context(), "a thing", "kind/one", func(dir string) error {
		return errors.Join(fill(dir), errors.New("no"))
	})
	assert.ErrorContains(t, err, "no")
	_, err = os.Stat(s.SuitePath("kind/one"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	for range 2 {
		dir, err := s.MakeDir(t.Context(), "a thing", "kind/one", fill)
		assert.NilError(t, err)
		assert.Check(t, is.Equal(dir, s.SuitePath("kind/one")))
	}
	assert.Check(t, is.Equal(made, 2)) // the one that failed, and another
	set.assertNothingLeft(t)
}

func TestPruneSuites(t *testing.T) {
	s := newSetting(t).open(t)
	for _, key := range []string{"objects/used", "objects/old", "types/old"} {
		_, err := s.MakeDir(t.Context(), "", key, func(dir string) error { return nil })
		assert.NilError(t, err)
	}
	assert.NilError(t, s.MakeFile("some.json", []byte(`{"uses": ["objects/used"]}`)))
	there := func() (keys []string) {
		for _, key := range []string{"objects/used", "objects/old", "types/old", "some.json"} {
			if _, err := os.Stat(s.SuitePath(key)); err == nil {
				keys = append(keys, key)
			}
		}
		return keys
	}
	_, err := s.Prune(false)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(there(), []string{"objects/used", "some.json"}))
	_, err = s.Prune(true)
	assert.NilError(t, err)
	assert.Check(t, is.Len(there(), 0))
}
