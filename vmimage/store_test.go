package vmimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

const testConfig = `
capabilities:
  early: {since: "5.5"}
  late:  {since: "6.9"}
  odd:   {since: "5.5"}
kernels:
  - name: "6.1"
    arch: amd64
    version: "6.1"
    sources:
      - debian: {suites: [bookworm], release: "6.1.*-cloud-amd64"}
    without: {odd: "this configuration leaves it out"}
  - name: stable
    arch: amd64
    sources:
      - debian: {suites: [bookworm, sid], release: "*-cloud-amd64"}
  - name: rc
    arch: amd64
    sources:
      - debian: {suites: [sid], release: "*-cloud-amd64", candidate: true}
  - name: "5.13"
    arch: amd64
    version: "5.13"
    sources:
      - debian-snapshot: {timestamp: 20210828T000000Z, suites: [experimental], release: "5.13.*-cloud-amd64"}
  - name: "5.10"
    arch: amd64
    version: "5.10"
    sources:
      - debian: {suites: [bullseye-security], release: "5.10.*-cloud-amd64"}
      - debian: {suites: [bullseye], release: "5.10.*-cloud-amd64"}
`

// setting is a kernels.yaml, a cache and the lines of progress.
type setting struct {
	Options
	mu    sync.Mutex
	lines []string
}

func newSetting(t testing.TB, keyrings ...string) *setting {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, catalog.FileName)
	assert.NilError(t, os.WriteFile(config, []byte(testConfig), 0o644))
	s := &setting{Options: Options{Config: config, Cache: filepath.Join(dir, "cache"), Keyrings: keyrings}}
	s.Progress = func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, line)
	}
	return s
}

func (s *setting) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *setting) open(t testing.TB) *Store {
	t.Helper()
	store, err := Open(s.Options)
	assert.NilError(t, err)
	t.Cleanup(func() { store.Close() })
	return store
}

func (s *setting) resolve(t testing.TB, name string) (*Kernel, error) {
	t.Helper()
	return s.open(t).Resolve(t.Context(), name)
}

// assertNothingLeft checks that these directories of the cache are empty, and that no temporary
// file is left.
func (s *setting) assertNothingLeft(t testing.TB, dirs ...string) {
	t.Helper()
	for _, dir := range append(dirs, "tmp") {
		entries, err := os.ReadDir(filepath.Join(s.Cache, dir))
		assert.NilError(t, err)
		assert.Check(t, is.Len(entries, 0), dir)
	}
}

func TestResolveOldLayout(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-9-cloud-amd64", "6.1.99-1")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	a.old("6.1.0-10-rt-amd64", "6.1.101-1")
	a.add("linux-image-6.1.0-10-cloud-amd64-dbg", "6.1.101-1", "", fake.Deb("gz", nil))
	a.add("linux-image-6.1.1-cloud-amd64", "6.1.200-1", "linux-image-6.1.0-10-cloud-amd64", fake.Deb("gz", nil))
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))

	k, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Name, "6.1")
	assert.Equal(t, k.Release, "6.1.0-10-cloud-amd64")
	assert.Equal(t, k.Version, "6.1")
	assert.Equal(t, k.Origin, "Debian bookworm, linux-image-6.1.0-10-cloud-amd64 6.1.101-1")
	image, err := os.ReadFile(k.ImagePath)
	assert.NilError(t, err)
	assert.Check(t, bytes.Equal(image, fake.BzImage(k.Release, "gz", true)))
	sum, err := digest.OfFile(k.ImagePath)
	assert.NilError(t, err)
	assert.Equal(t, k.SHA256, sum)
	boot, err := os.ReadFile(k.BootPath)
	assert.NilError(t, err)
	assert.Check(t, bytes.Equal(boot, fake.Vmlinux(k.Release, true)))
	config, err := os.ReadFile(k.ConfigPath)
	assert.NilError(t, err)
	assert.Equal(t, string(config), "CONFIG_BPF=y\n")
	assert.Check(t, is.Contains(s.said(), "downloading linux-image-6.1.0-10-cloud-amd64 6.1.101-1 ("))
	s.assertNothingLeft(t)
}

func TestResolveNewLayout(t *testing.T) {
	a, b := newArchive(t, "bookworm"), newArchive(t, "sid")
	b.key = a.key
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	b.new("7.2.9-cloud-amd64", "7.2.9-1")
	b.new("7.3-cloud-amd64", "7.3~rc7-1~exp1")
	// Its modules have another version, so the kernel is incomplete.
	b.add("linux-binary-7.2.10-cloud-amd64", "7.2.10-1", "", fake.Deb("gz", nil))
	b.add("linux-modules-7.2.10-cloud-amd64", "7.2.10-2", "", fake.Deb("gz", nil))
	b.add("linux-base-7.2.10-cloud-amd64", "7.2.10-1", "", fake.Deb("gz", nil))
	serve(t, a, b)
	s := newSetting(t, keyring(t, a.key))

	k, err := s.resolve(t, "stable")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "7.2.9-cloud-amd64")
	assert.Equal(t, k.Version, "7.2")
	assert.Check(t, k.ConfigPath != "" && k.ModulesDir != "")

	k, err = s.resolve(t, "rc")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "7.3-cloud-amd64")
}

func TestUnsignedImage(t *testing.T) {
	const release = "7.3.4-cloud-amd64"
	a := newArchive(t, "bookworm")
	dir := "./usr/lib/modules/" + release + "/"
	a.add(prefixUnsigned+release, "7.3.4-1", "", fake.Deb("xz", map[string][]byte{dir + "vmlinuz.unsigned": fake.BzImage(release, "zst", true)}))
	a.add(prefixModules+release, "7.3.4-1", "", fake.Deb("xz", fake.Modules(dir)))
	a.add(prefixBase+release, "7.3.4-1", "", fake.Deb("xz", map[string][]byte{dir + "config": []byte("x")}))
	serve(t, a)
	k, err := newSetting(t, keyring(t, a.key)).resolve(t, "stable")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, release)
}

// TestSignedBeforeUnsigned: of two packages of one version the signed is taken.
func TestSignedBeforeUnsigned(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.add("linux-image-6.1.0-10-cloud-amd64-unsigned", "6.1.101-1", "kmod", oldDeb("6.1.0-10-cloud-amd64"))
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	k, err := newSetting(t, keyring(t, a.key)).resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Check(t, is.Contains(k.Origin, "linux-image-6.1.0-10-cloud-amd64 6"))
}

// TestCachedNeedsNoNetwork: a resolved kernel needs no request.
func TestCachedNeedsNoNetwork(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	server := serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	first, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	server.Close()
	again, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, *first.pure(), *again.pure())
}

// pure removes fields that cannot be compared.
func (k *Kernel) pure() *comparableKernel {
	return &comparableKernel{k.Name, k.Release, k.Version, k.SHA256, k.Origin, k.BootPath, k.ConfigPath, k.ModulesDir}
}

type comparableKernel struct{ a, b, c, d, e, f, g, h string }

// TestSnapshot: keys and index of a snapshot that have expired are accepted.
func TestSnapshot(t *testing.T) {
	day := time.Date(2021, 8, 27, 12, 0, 0, 0, time.UTC)
	a := newArchive(t, "experimental")
	a.prefix = "/snapshot/" + timestamp
	a.date = day.Format(time.RFC1123)
	a.validUntil = day.Add(7 * 24 * time.Hour).Format(time.RFC1123)
	a.key = newKey(t, &packet.Config{
		Time:            func() time.Time { return day.Add(-time.Hour) },
		KeyLifetimeSecs: uint32((30 * 24 * time.Hour).Seconds()),
	})
	a.old("5.13.0-trunk-cloud-amd64", "5.13.12-1~exp1")
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	k, err := s.resolve(t, "5.13")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "5.13.0-trunk-cloud-amd64")
	assert.Check(t, is.Contains(k.Origin, "Debian experimental of "+timestamp))
	assert.Check(t, !strings.Contains(s.said(), "out of date"))

	for _, damaged := range []string{"InRelease", "Packages.xz", ".deb"} {
		server := serve(t, a)
		for _, suffix := range suffixes(a, damaged) {
			server.change(t, suffix, flip)
		}
		s := newSetting(t, keyring(t, a.key))
		_, err := s.resolve(t, "5.13")
		assert.Check(t, is.ErrorIs(err, digest.ErrIntegrity), damaged)
		s.assertNothingLeft(t, cache.Kernels)
	}
}

// suffixes returns the names of an index, by-hash name included.
func suffixes(a *debArchive, name string) []string {
	if !strings.HasPrefix(name, "Packages") || !a.byHash {
		return []string{name}
	}
	sum := sha256Of(fake.Compress(strings.TrimPrefix(a.index, "."), []byte(strings.Join(a.stanzas, "\n"))))
	return []string{name, sum}
}

// TestRefuses: files that differ from what was signed are not used, and leave nothing in the cache.
func TestRefuses(t *testing.T) {
	tests := []struct {
		name    string
		archive func(*debArchive)
		server  func(testing.TB, *debArchive, *debServer)
		ring    func(testing.TB) []string
		err     string
		other   bool // not ErrIntegrity
	}{
		{name: "a flipped byte in the package", err: "SHA-256", server: func(t testing.TB, a *debArchive, s *debServer) { s.change(t, ".deb", flip) }},
		{name: "a longer package", err: "larger than", server: func(t testing.TB, a *debArchive, s *debServer) {
			s.change(t, ".deb", func(b []byte) []byte { return append(b, 'x') })
		}},
		{name: "a shorter package", err: "short read", other: true, server: func(t testing.TB, a *debArchive, s *debServer) {
			s.change(t, ".deb", func(b []byte) []byte { return b[:len(b)-1] })
		}},
		{name: "a short read of the package", err: "short read", other: true, server: func(t testing.TB, a *debArchive, s *debServer) { s.short = ".deb" }},
		{name: "a flipped byte in the index", err: "SHA-256", server: func(t testing.TB, a *debArchive, s *debServer) {
			for _, suffix := range suffixes(a, "Packages.xz") {
				s.change(t, suffix, flip)
			}
		}},
		{name: "a short read of the index", err: "short read", other: true, archive: func(a *debArchive) { a.byHash = false },
			server: func(t testing.TB, a *debArchive, s *debServer) { s.short = "Packages.xz" }},
		{name: "a flipped byte in InRelease", err: "InRelease", server: func(t testing.TB, a *debArchive, s *debServer) {
			s.change(t, "InRelease", func(b []byte) []byte { return bytes.Replace(b, []byte("Origin: Debian"), []byte("Origin: Debiam"), 1) })
		}},
		{name: "another signature", err: "InRelease", server: func(t testing.TB, a *debArchive, s *debServer) {
			other := newArchive(t, a.suite)
			other.key, other.stanzas, other.pool = a.key, []string{"Package: x\n"}, a.pool
			swapped := other.files(t)["/debian/dists/bookworm/InRelease"]
			s.change(t, "InRelease", func(b []byte) []byte {
				text, _, _ := bytes.Cut(b, []byte("-----BEGIN PGP SIGNATURE"))
				_, signature, _ := bytes.Cut(swapped, []byte("-----BEGIN PGP SIGNATURE"))
				return append(append(text, "-----BEGIN PGP SIGNATURE"...), signature...)
			})
		}},
		{name: "no signature", err: "not a signed message", server: func(t testing.TB, a *debArchive, s *debServer) {
			s.change(t, "InRelease", func(b []byte) []byte { return []byte("Suite: bookworm\n") })
		}},
		{name: "an unknown key", err: "InRelease", archive: func(a *debArchive) { a.key = newKey(t, nil) }},
		{name: "a flipped byte in Release", err: "Release.gpg", archive: func(a *debArchive) { a.detached = true },
			server: func(t testing.TB, a *debArchive, s *debServer) { s.change(t, "/Release", flip) }},
		{name: "the Release file of another suite", err: "for the suite", server: func(t testing.TB, a *debArchive, s *debServer) {
			other := newArchive(t, "trixie")
			other.key = a.key
			s.change(t, "InRelease", func([]byte) []byte { return other.files(t)["/debian/dists/trixie/InRelease"] })
		}},
		{name: "no keys", err: "install the package debian-archive-keyring", other: true,
			ring: func(t testing.TB) []string { return []string{filepath.Join(t.TempDir(), "none.gpg")} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newArchive(t, "bookworm")
			rings := []string{keyring(t, a.key)}
			if test.archive != nil {
				test.archive(a)
			}
			a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
			server := serve(t, a)
			if test.server != nil {
				test.server(t, a, server)
			}
			if test.ring != nil {
				rings = test.ring(t)
			}
			s := newSetting(t, rings...)
			_, err := s.resolve(t, "6.1")
			assert.ErrorContains(t, err, test.err)
			assert.Equal(t, errors.Is(err, digest.ErrIntegrity), !test.other)
			s.assertNothingLeft(t, cache.Kernels)
			_, err = os.Stat(filepath.Join(s.Cache, catalog.LockName))
			assert.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

// TestIntegrityStops: after a broken chain the next source is not tried.
func TestIntegrityStops(t *testing.T) {
	a, b := newArchive(t, "bullseye-security"), newArchive(t, "bullseye")
	a.prefix, b.key = "/debian-security", a.key
	a.old("5.10.0-46-cloud-amd64", "5.10.262-1")
	b.old("5.10.0-32-cloud-amd64", "5.10.223-1")
	server := serve(t, a, b)
	server.change(t, "5.10.262-1_amd64.deb", flip)
	_, err := newSetting(t, keyring(t, a.key)).resolve(t, "5.10")
	assert.ErrorIs(t, err, digest.ErrIntegrity)
	assert.Equal(t, server.count("/debian/"), 0)
}

func TestDetachedRelease(t *testing.T) {
	for _, index := range []string{".xz", ".gz", ""} {
		a := newArchive(t, "bookworm")
		a.detached, a.byHash, a.index = true, false, index
		a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
		serve(t, a)
		_, err := newSetting(t, keyring(t, newKey(t, nil), a.key)).resolve(t, "6.1")
		assert.NilError(t, err)
	}
}

// TestStandingMirror: an expired index is used, with a note.
func TestStandingMirror(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.validUntil = time.Now().UTC().Add(-time.Minute).Format(time.RFC1123)
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	_, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Check(t, is.Contains(s.said(), "out of date"))
}

// TestGoneFromPool: a package that the pool lacks is skipped, for the next best match and then for
// the next source.
func TestGoneFromPool(t *testing.T) {
	a, b := newArchive(t, "bullseye-security"), newArchive(t, "bullseye")
	a.prefix, b.key = "/debian-security", a.key
	a.old("5.10.0-46-cloud-amd64", "5.10.262-1")
	a.old("5.10.0-45-cloud-amd64", "5.10.259-1")
	b.old("5.10.0-32-cloud-amd64", "5.10.223-1")
	server := serve(t, a, b)
	server.change(t, "5.10.262-1_amd64.deb", gone)
	s := newSetting(t, keyring(t, a.key))
	k, err := s.resolve(t, "5.10")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "5.10.0-45-cloud-amd64")
	assert.Check(t, is.Contains(s.said(), "5.10.262-1 is in the index, but no longer in the pool"))

	server.change(t, "5.10.259-1_amd64.deb", gone)
	k, err = newSetting(t, keyring(t, a.key)).resolve(t, "5.10")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "5.10.0-32-cloud-amd64")

	server.change(t, "5.10.223-1_amd64.deb", gone)
	_, err = newSetting(t, keyring(t, a.key)).resolve(t, "5.10")
	assert.ErrorContains(t, err, "none of the 2 matching kernels")
	assert.ErrorContains(t, err, "none of the 1 matching kernels")
}

// TestUnreachable: the error names a snapshot host that does not answer, and kernels that are
// available.
func TestUnreachable(t *testing.T) {
	serve(t, newArchive(t, "bookworm"))
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	t.Setenv(apt.SnapshotEnv, dead.URL)
	s := newSetting(t, keyring(t, newKey(t, nil)))
	_, err := s.resolve(t, "5.13")
	var unavailable *UnavailableError
	assert.Assert(t, errors.As(err, &unavailable))
	assert.DeepEqual(t, unavailable.Nearest, []string{"5.10", "6.1"})
	host := strings.TrimPrefix(dead.URL, "http://")
	assert.Check(t, is.Contains(err.Error(), "kernel 5.13 comes from the Debian snapshot archive, and "+host+" cannot be reached: "))
	assert.Check(t, strings.HasSuffix(err.Error(), "; the nearest kernels that can be had: 5.10, 6.1"))
}

// TestDeadMirror: several suites of a mirror that does not answer are one error.
func TestDeadMirror(t *testing.T) {
	server := serve(t)
	server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	_, err := newSetting(t, keyring(t, newKey(t, nil))).resolve(t, "5.10")
	assert.ErrorContains(t, err, "kernel 5.10: the Debian mirror: "+host+" cannot be reached: ")
	assert.ErrorContains(t, err, "; set "+apt.MirrorEnv)
	assert.Equal(t, strings.Count(err.Error(), host+" cannot"), 1)
}

// TestSnapshotRefusal: a snapshot host that answers with an error gives the same kind of error.
func TestSnapshotRefusal(t *testing.T) {
	serve(t, newArchive(t, "bookworm"))
	_, err := newSetting(t, keyring(t, newKey(t, nil))).resolve(t, "5.13")
	var unavailable *UnavailableError
	assert.Assert(t, errors.As(err, &unavailable))
	assert.Check(t, is.Contains(err.Error(), "404"))
}

func TestUnknownName(t *testing.T) {
	s := newSetting(t)
	_, err := s.resolve(t, "9.9")
	assert.ErrorContains(t, err, `no kernel is called "9.9"`)
	assert.ErrorContains(t, err, "6.1, stable, rc, 5.13, 5.10")
	_, err = s.resolve(t, "./nowhere/bzImage")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestCapabilities(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	k, err := newSetting(t, keyring(t, a.key)).resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Check(t, k.Must("early") && !k.Must("late") && !k.Must("odd") && !k.Must("unheard"))
	reason, ok := k.Without("odd")
	assert.Check(t, ok && reason == "this configuration leaves it out")
	byPath, err := newSetting(t).resolve(t, k.ImagePath)
	assert.NilError(t, err)
	assert.Check(t, !byPath.Must("early"))
}

// TestLock: a name keeps its kernel until it is updated; a pin takes precedence over the cache's
// lock.
func TestLock(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	server := serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	_, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Check(t, !strings.Contains(readFile(t, filepath.Join(s.Cache, catalog.LockName)), server.URL))

	a.old("6.1.0-11-cloud-amd64", "6.1.103-1")
	newer := serve(t, a)
	k, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.1.0-10-cloud-amd64")

	// Pinned: an empty cache elsewhere gets the same kernel.
	pin := filepath.Join(filepath.Dir(s.Config), catalog.LockName)
	copyFile(t, filepath.Join(s.Cache, catalog.LockName), pin)
	pinned := readFile(t, pin)
	s.Cache = t.TempDir()
	k, err = s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.1.0-10-cloud-amd64")
	assert.Equal(t, newer.count("/dists/"), 0)

	// The pinned package is gone: a note, another kernel, the same pin, and no network the next
	// time.
	newer.change(t, "6.1.101-1_amd64.deb", gone)
	s.Cache = t.TempDir()
	k, err = s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.1.0-11-cloud-amd64")
	assert.Check(t, is.Contains(s.said(), "the locked linux-image-6.1.0-10-cloud-amd64 6.1.101-1 has left the archive"))
	assert.Equal(t, readFile(t, pin), pinned)
	list, err := s.open(t).List()
	assert.NilError(t, err)
	assert.Equal(t, list[0].Release, "6.1.0-11-cloud-amd64")
	assert.Check(t, list[0].Locked && list[0].Cached && list[0].Size > 0)
	assert.Check(t, !list[1].Locked && !list[1].Cached)

	changes, err := s.open(t).Update(t.Context(), "6.1")
	assert.NilError(t, err)
	assert.DeepEqual(t, changes, []Change{{Name: "6.1", Old: "6.1.0-11-cloud-amd64", New: "6.1.0-11-cloud-amd64"}})
	assert.Check(t, is.Contains(readFile(t, pin), "6.1.0-11-cloud-amd64"))
}

// TestPinComesFirst: the lock beside kernels.yaml takes precedence over the cache's.
func TestPinComesFirst(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	_, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	older := readFile(t, filepath.Join(s.Cache, catalog.LockName))

	a.old("6.1.0-11-cloud-amd64", "6.1.103-1")
	serve(t, a)
	changes, err := s.open(t).Update(t.Context(), "6.1")
	assert.NilError(t, err)
	assert.DeepEqual(t, changes, []Change{{Name: "6.1", Old: "6.1.0-10-cloud-amd64", New: "6.1.0-11-cloud-amd64"}})
	assert.NilError(t, os.WriteFile(filepath.Join(filepath.Dir(s.Config), catalog.LockName), []byte(older), 0o644))
	k, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.1.0-10-cloud-amd64")
}

// TestLockOfOtherPattern: a record for a pattern that kernels.yaml no longer has is ignored.
func TestLockOfOtherPattern(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	a.old("6.1.0-10-rt-amd64", "6.1.101-1")
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	_, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	config := strings.Replace(testConfig, "6.1.*-cloud-amd64", "6.1.*-rt-amd64", 1)
	assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
	k, err := s.resolve(t, "6.1")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.1.0-10-rt-amd64")
}

func TestPrune(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	store := s.open(t)
	k, err := store.Resolve(t.Context(), "6.1")
	assert.NilError(t, err)
	orphan := filepath.Join(s.Cache, cache.Kernels, "orphan")
	assert.NilError(t, os.Mkdir(orphan, 0o755))
	assert.NilError(t, os.WriteFile(filepath.Join(orphan, "x"), []byte("12345"), 0o644))

	pruned, err := store.Prune(false)
	assert.NilError(t, err)
	assert.Check(t, is.Contains(pruned, cache.Pruned{Path: orphan, Size: 5}))
	_, err = os.Stat(orphan)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = os.Stat(k.BootPath)
	assert.NilError(t, err)
	s.assertNothingLeft(t, cache.Blobs)

	_, err = store.Prune(true)
	assert.NilError(t, err)
	s.assertNothingLeft(t, cache.Kernels)
	// It holds the shared lock again, and can continue.
	_, err = store.Resolve(t.Context(), "6.1")
	assert.NilError(t, err)
}

// TestTogether: concurrent runs get the same kernel, and download it once.
func TestTogether(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	server := serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			store, err := Open(s.Options)
			if !assert.Check(t, err) {
				return
			}
			defer store.Close()
			_, err = store.Resolve(context.Background(), "6.1")
			assert.Check(t, err)
		})
	}
	group.Wait()
	assert.Equal(t, server.count(".deb"), 1)
	s.assertNothingLeft(t)
}

// TestKilled: a process that is killed while it downloads leaves no partial file in place, and the
// next run removes its temporary files.
func TestKilled(t *testing.T) {
	if cache := os.Getenv("VMIMAGE_TEST_KILLED"); cache != "" {
		store, err := Open(Options{Config: os.Getenv("VMIMAGE_TEST_CONFIG"), Cache: cache, Keyrings: []string{os.Getenv("VMIMAGE_TEST_KEYS")}})
		assert.NilError(t, err)
		_, err = store.Resolve(t.Context(), "6.1")
		assert.NilError(t, err)
		return
	}
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	server := serve(t, a)
	ring := keyring(t, a.key)
	s := newSetting(t, ring)

	// This server stops in the middle of the package until the test ends.
	halfway, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".deb") {
			server.handle(w, r)
			return
		}
		data := server.files[r.URL.Path]
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush()
		close(halfway)
		<-release
	}))
	defer slow.Close()
	defer close(release)

	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "VMIMAGE_TEST_KILLED="+s.Cache, "VMIMAGE_TEST_CONFIG="+s.Config,
		"VMIMAGE_TEST_KEYS="+ring, apt.MirrorEnv+"="+slow.URL+"/debian")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	assert.NilError(t, cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case <-halfway:
	case <-exited:
		t.Fatalf("the process ended before it was killed:\n%s", &output)
	}
	assert.NilError(t, cmd.Process.Kill())
	<-exited

	left, err := os.ReadDir(filepath.Join(s.Cache, "tmp"))
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 1))
	for _, dir := range []string{cache.Kernels, cache.Images} {
		entries, err := os.ReadDir(filepath.Join(s.Cache, dir))
		assert.NilError(t, err)
		assert.Check(t, is.Len(entries, 0))
	}
	store := s.open(t)
	s.assertNothingLeft(t, "locks")
	_, err = store.Resolve(t.Context(), "6.1")
	assert.NilError(t, err)
}

// TestFullDisk: on a full disk the error says so, and nothing is left.
func TestFullDisk(t *testing.T) {
	a := newArchive(t, "bookworm")
	a.add("linux-image-6.1.0-10-cloud-amd64", "6.1.101-1", "kmod", fake.Deb("", map[string][]byte{"./boot/vmlinuz-6.1.0-10-cloud-amd64": make([]byte, 4<<20)}))
	serve(t, a)
	s := newSetting(t, keyring(t, a.key))
	assert.NilError(t, os.Mkdir(s.Cache, 0o755))
	if err := unix.Mount("tmpfs", s.Cache, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system is needed, and cannot be mounted: %v", err)
	}
	t.Cleanup(func() { assert.Check(t, unix.Unmount(s.Cache, 0)) })
	_, err := s.resolve(t, "6.1")
	assert.ErrorIs(t, err, unix.ENOSPC)
	assert.ErrorContains(t, err, "is full; make room")
	s.assertNothingLeft(t, cache.Kernels)
}

// TestCancel: a cancelled download is reported as such, not as a dead host.
func TestCancel(t *testing.T) {
	a := newArchive(t, "bookworm")
	serve(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newSetting(t, keyring(t, a.key)).open(t).Resolve(ctx, "6.1")
	assert.ErrorIs(t, err, context.Canceled)
}

func readFile(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	assert.NilError(t, err)
	return string(data)
}

func copyFile(t testing.TB, src, dst string) {
	t.Helper()
	in, err := os.Open(src)
	assert.NilError(t, err)
	defer in.Close()
	out, err := os.Create(dst)
	assert.NilError(t, err)
	defer out.Close()
	_, err = io.Copy(out, in)
	assert.NilError(t, err)
}
