package vmimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

// This file builds a Debian archive in memory, signed, with real packages of
// tiny kernels, and serves it.

const timestamp = "20210828T000000Z"

// debArchive is an archive with one suite. Several suites are several of them.
type debArchive struct {
	suite string
	// prefix is the path of the archive on the server.
	prefix string
	// date and validUntil of the Release file.
	date, validUntil string
	// detached has Release and Release.gpg in the place of InRelease.
	detached bool
	byHash   bool
	// index is the suffix of the only package index, such as ".xz".
	index   string
	key     *openpgp.Entity
	stanzas []string
	pool    map[string][]byte
}

func newArchive(t testing.TB, suite string) *debArchive {
	return &debArchive{
		suite:  suite,
		prefix: "/debian",
		date:   time.Now().UTC().Add(-time.Hour).Format(time.RFC1123),
		index:  ".xz",
		byHash: true,
		key:    newKey(t, nil),
		pool:   make(map[string][]byte),
	}
}

// newKey makes an archive key; config may set another time and a lifetime.
func newKey(t testing.TB, config *packet.Config) *openpgp.Entity {
	t.Helper()
	if config == nil {
		config = &packet.Config{Time: func() time.Time { return time.Now().Add(-24 * time.Hour) }}
	}
	config.Algorithm = packet.PubKeyAlgoEdDSA
	key, err := openpgp.NewEntity("Test Archive", "", "archive@example.org", config)
	assert.NilError(t, err)
	return key
}

// keyring writes public keys to a file.
func keyring(t testing.TB, keys ...*openpgp.Entity) string {
	t.Helper()
	var buf bytes.Buffer
	for _, key := range keys {
		assert.NilError(t, key.Serialize(&buf))
	}
	file := filepath.Join(t.TempDir(), "keys.gpg")
	assert.NilError(t, os.WriteFile(file, buf.Bytes(), 0o644))
	return file
}

// add adds a package and returns its path in the pool.
func (a *debArchive) add(name, version, depends string, deb []byte) string {
	file := fmt.Sprintf("pool/main/l/linux/%s_%s_amd64.deb", name, strings.ReplaceAll(version, ":", "%3a"))
	a.pool[file] = deb
	sum := sha256.Sum256(deb)
	a.stanzas = append(a.stanzas, fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nDepends: %s\n"+
		"Description: a kernel\n with more to say\nFilename: %s\nSize: %d\nSHA256: %x\n", name, version, depends, file, len(deb), sum))
	return file
}

// old adds a kernel in the layout before Linux 6.19.
func (a *debArchive) old(release, version string) string {
	return a.add(prefixImage+release, version, "kmod", oldDeb(release))
}

// new adds a kernel in the layout from Linux 6.19 on, with its empty package.
func (a *debArchive) new(release, version string) {
	dir := "./usr/lib/modules/" + release + "/"
	a.add(prefixImage+release, version, prefixBinary+release+" (= "+version+")", fake.Deb("gz", nil))
	a.add(prefixBinary+release, version, "", fake.Deb("zst", map[string][]byte{dir + "vmlinuz": fake.BzImage(release, "xz", true)}))
	a.add(prefixModules+release, version, "kmod", fake.Deb("xz", fake.Modules(dir)))
	a.add(prefixBase+release, version, "", fake.Deb("gz", map[string][]byte{
		dir + "config": []byte("CONFIG_BPF=y\n"), dir + "System.map": []byte("none"),
		dir + "modules.builtin": []byte("kernel/lib/built-in.ko\n"), dir + "modules.builtin.modinfo": []byte("built_in.alias=crypto-builtin\x00"),
	}))
}

// oldDeb is a package with everything of one kernel.
func oldDeb(release string) []byte {
	files := fake.Modules("./lib/modules/" + release + "/")
	files["./boot/vmlinuz-"+release] = fake.BzImage(release, "gz", true)
	files["./boot/config-"+release] = []byte("CONFIG_BPF=y\n")
	files["./boot/System.map-"+release] = []byte("none")
	files["./lib/modules/"+release+"/modules.builtin"] = []byte("kernel/lib/built-in.ko\n")
	files["./lib/modules/"+release+"/modules.builtin.modinfo"] = []byte("built_in.alias=crypto-builtin\x00")
	return fake.Deb("xz", files)
}

// files returns all files of the archive, by their path on the server.
func (a *debArchive) files(t testing.TB) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for name, data := range a.pool {
		out[path.Join(a.prefix, name)] = data
	}
	packages := fake.Compress(strings.TrimPrefix(a.index, "."), []byte(strings.Join(a.stanzas, "\n")))
	name := "main/binary-amd64/Packages" + a.index
	sum := sha256.Sum256(packages)
	dist := path.Join(a.prefix, "dists", a.suite)
	out[path.Join(dist, name)] = packages
	byHash := ""
	if a.byHash {
		byHash = "Acquire-By-Hash: yes\n"
		out[path.Join(dist, "main/binary-amd64/by-hash/SHA256", hex.EncodeToString(sum[:]))] = packages
	}
	until := ""
	if a.validUntil != "" {
		until = "Valid-Until: " + a.validUntil + "\n"
	}
	release := fmt.Sprintf("Origin: Debian\nSuite: other\nCodename: %s\nDate: %s\n%s%sSHA256:\n %x %d %s\n",
		a.suite, a.date, until, byHash, sum, len(packages), name)
	maps.Copy(out, a.sign(t, dist, release))
	return out
}

// sign signs at the date of the Release file.
func (a *debArchive) sign(t testing.TB, dist, release string) map[string][]byte {
	t.Helper()
	at, err := time.Parse(time.RFC1123, a.date)
	assert.NilError(t, err)
	config := &packet.Config{Time: func() time.Time { return at }}
	var buf bytes.Buffer
	if a.detached {
		assert.NilError(t, openpgp.ArmoredDetachSign(&buf, a.key, strings.NewReader(release), config))
		return map[string][]byte{path.Join(dist, "Release"): []byte(release), path.Join(dist, "Release.gpg"): buf.Bytes()}
	}
	w, err := clearsign.Encode(&buf, a.key.PrivateKey, config)
	assert.NilError(t, err)
	_, err = io.WriteString(w, release)
	assert.NilError(t, err)
	assert.NilError(t, w.Close())
	return map[string][]byte{path.Join(dist, "InRelease"): buf.Bytes()}
}

// debServer serves files and counts how often each was asked for.
type debServer struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
	// short cuts the file with this suffix in the middle.
	short string
}

func serve(t testing.TB, archives ...*debArchive) *debServer {
	t.Helper()
	s := &debServer{files: make(map[string][]byte), asked: make(map[string]int)}
	for _, a := range archives {
		maps.Copy(s.files, a.files(t))
	}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	t.Setenv(apt.MirrorEnv, s.URL+"/debian")
	t.Setenv(apt.SnapshotEnv, s.URL+"/snapshot")
	return s
}

func (s *debServer) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	data, ok := s.files[r.URL.Path]
	s.asked[r.URL.Path]++
	short := s.short != "" && strings.HasSuffix(r.URL.Path, s.short)
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if short {
		data = data[:len(data)/2]
	}
	w.Write(data)
}

// change replaces the files whose paths end in suffix; nil removes them.
func (s *debServer) change(t testing.TB, suffix string, fn func([]byte) []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, name := range slices.Collect(maps.Keys(s.files)) {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		found = true
		if data := fn(slices.Clone(s.files[name])); data != nil {
			s.files[name] = data
		} else {
			delete(s.files, name)
		}
	}
	assert.Assert(t, found, "no file ends in %s", suffix)
}

func gone([]byte) []byte { return nil }

// flip changes one bit in the middle.
func flip(data []byte) []byte {
	data[len(data)/2] ^= 1
	return data
}

// count returns how often files whose paths contain part were asked for.
func (s *debServer) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name, times := range s.asked {
		if strings.Contains(name, part) {
			n += times
		}
	}
	return n
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
