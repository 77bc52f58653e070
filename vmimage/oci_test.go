package vmimage

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
	"github.com/bpfreplay/bpfreplay/vmimage/oci"
)

const (
	ociRepo    = "/cilium/ci-kernels"
	ociRelease = "6.12.111"
	dockerTar  = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// ociRegistry is a registry on this machine. fault may answer in its place.
type ociRegistry struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	fault func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newRegistry(t testing.TB) *ociRegistry {
	t.Helper()
	// No credentials, unless a test has some.
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := new(ociRegistry)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r) {
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *ociRegistry) image() string { return strings.TrimPrefix(s.URL, "http://") + ociRepo }

// breaks makes requests whose paths end in suffix fail.
func (s *ociRegistry) breaks(suffix string, fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		fault(w, r)
		return true
	}
}

func (s *ociRegistry) push(t testing.TB, mediaType string, data []byte, tag string) ocispec.Descriptor {
	t.Helper()
	repo, err := remote.NewRepository(s.image())
	assert.NilError(t, err)
	repo.PlainHTTP = true
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: godigest.FromBytes(data), Size: int64(len(data))}
	switch {
	case tag != "":
		err = repo.PushReference(t.Context(), desc, bytes.NewReader(data), tag)
	default:
		err = repo.Push(t.Context(), desc, bytes.NewReader(data))
	}
	assert.NilError(t, err)
	return desc
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	assert.NilError(t, err)
	return data
}

// pushImage pushes an image and returns its manifest's descriptor. Without a tag
// it has none.
func (s *ociRegistry) pushImage(t testing.TB, tag, arch string, layers ...[]byte) ocispec.Descriptor {
	t.Helper()
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	manifest.Config = s.push(t, ocispec.MediaTypeImageConfig, asJSON(t, config), "")
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, s.push(t, ocispec.MediaTypeImageLayerGzip, layer, ""))
	}
	desc := s.push(t, manifest.MediaType, asJSON(t, manifest), tag)
	desc.Platform = &config.Platform
	return desc
}

// ociSetting is a kernels.yaml whose kernel "image" is an image, and "either"
// that or Debian's.
func ociSetting(t testing.TB, image string, keyrings ...string) *setting {
	t.Helper()
	s := newSetting(t, keyrings...)
	config := fmt.Sprintf(`
kernels:
  - name: image
    arch: amd64
    sources: [{oci: {image: %q, tag: "6.12"}}]
  - name: either
    arch: amd64
    version: "6.1"
    sources:
      - oci: {image: %q, tag: "6.12"}
      - debian: {suites: [bookworm], release: "6.1.*-cloud-amd64"}
`, image, image)
	assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
	return s
}

// entry is one entry of a layer.
type entry struct {
	name string
	data string
	kind byte   // 0: a regular file
	link string // where links lead
}

func layer(entries ...entry) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.data))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		fake.Must(w.WriteHeader(h))
		_, err := io.WriteString(w, e.data)
		fake.Must(err)
	}
	fake.Must(w.Close())
	return buf.Bytes()
}

func dir(name string) entry      { return entry{name: name, kind: tar.TypeDir} }
func link(name, to string) entry { return entry{name: name, kind: tar.TypeSymlink, link: to} }
func imageEntry(name, release string) entry {
	return entry{name: name, data: string(fake.BzImage(release, "gz", true))}
}
func moduleEntry(name string) entry {
	return entry{name: "usr/lib/modules/" + ociRelease + "/" + name, data: string(fake.Module("depends="))}
}

// kernelLayer has the layout of the images of ci-kernels.
func kernelLayer() []byte {
	return layer(link("lib", "usr/lib"), dir("boot"), imageEntry("boot/vmlinuz", ociRelease),
		dir("usr/lib/modules/"+ociRelease), moduleEntry("updates/bpf_testmod.ko"),
		entry{name: "usr/lib/modules/" + ociRelease + "/modules.builtin", data: "kernel/lib/built-in.ko\n"},
		link("usr/lib/modules/"+ociRelease+"/build", "/usr/src/linux"),
		entry{name: "usr/src/linux/boot/vmlinuz", data: "another"})
}

func TestOCI(t *testing.T) {
	server := newRegistry(t)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	attestation := server.pushImage(t, "", "unknown", kernelLayer())
	attestation.Platform.OS = "unknown"
	want := server.pushImage(t, "", "amd64", fake.Compress("gz", kernelLayer()))
	index.Manifests = []ocispec.Descriptor{server.pushImage(t, "", "arm64", layer(entry{name: "boot/vmlinuz", data: "arm"})), attestation, want}
	server.push(t, index.MediaType, asJSON(t, index), "6.12")

	s := ociSetting(t, server.image())
	k, err := s.resolve(t, "image")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, ociRelease)
	assert.Equal(t, k.Version, "6.12")
	assert.Equal(t, k.Origin, fmt.Sprintf("OCI image %s:6.12 (sha256:%s)", server.image(), want.Digest.Encoded()[:12]))
	boot, err := os.ReadFile(k.BootPath)
	assert.NilError(t, err)
	assert.Check(t, bytes.Equal(boot, fake.Vmlinux(ociRelease, true)))
	modules, err := k.Modules("bpf-testmod", "built-in")
	assert.NilError(t, err)
	assert.Equal(t, len(modules), 1)
	assert.Equal(t, modules[0].Path, "updates/bpf_testmod.ko")
	s.assertNothingLeft(t, cache.Blobs)

	lock, err := catalog.ReadLock(filepath.Join(s.Cache, catalog.LockName))
	assert.NilError(t, err)
	assert.DeepEqual(t, lock.Kernels[0].Packages, []catalog.LockedPackage{{
		Package: server.image(), Version: "6.12", Archive: "oci", Path: server.image(), SHA256: want.Digest.Encoded(), Size: want.Size,
	}})
	assert.Equal(t, lock.Kernels[0].Release, ociRelease)

	server.Close()
	again, err := s.resolve(t, "image")
	assert.NilError(t, err)
	assert.Equal(t, *k.pure(), *again.pure())
	keep, err := s.open(t).keep(false)
	assert.NilError(t, err)
	assert.Check(t, is.Contains(keep, filepath.Join(s.Cache, cache.Kernels, again.key)))
}

// TestOCIMoves: a tag that moved changes nothing until the lock is renewed, and a lock whose image
// is gone is replaced.
func TestOCIMoves(t *testing.T) {
	server := newRegistry(t)
	old := server.pushImage(t, "6.12", "amd64", kernelLayer())
	s := ociSetting(t, server.image())
	_, err := s.resolve(t, "image")
	assert.NilError(t, err)
	pin := filepath.Join(filepath.Dir(s.Config), catalog.LockName)
	copyFile(t, filepath.Join(s.Cache, catalog.LockName), pin)

	server.pushImage(t, "6.12", "amd64", layer(imageEntry("boot/vmlinuz", "6.12.112")))
	s.Cache = t.TempDir()
	k, err := s.resolve(t, "image")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, ociRelease)
	assert.Equal(t, k.ModulesDir != "", true)

	server.breaks(old.Digest.String(), http.NotFound)
	s.Cache = t.TempDir()
	k, err = s.resolve(t, "image")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.12.112")
	assert.Equal(t, k.ModulesDir, "")
	assert.Check(t, is.Contains(s.said(), "the locked "+server.image()+" 6.12 has left the archive"))

	changes, err := s.open(t).Update(t.Context(), "image")
	assert.NilError(t, err)
	assert.DeepEqual(t, changes, []Change{{Name: "image", Old: "6.12.112", New: "6.12.112"}})
	assert.Check(t, !strings.Contains(readFile(t, pin), old.Digest.Encoded()))
}

// TestLayers: the files that remain of several layers, the lowest first.
func TestLayers(t *testing.T) {
	const dirOf = "lib/modules/" + ociRelease
	image := imageEntry("boot/vmlinuz", ociRelease)
	a, b := moduleEntry("kernel/a.ko"), moduleEntry("kernel/b.ko")
	fast := entry{name: dirOf + "/kernel/a.ko", data: string(fake.Module("depends=b"))}
	for _, test := range []struct {
		name    string
		layers  [][]entry
		modules string
		config  string
	}{
		{name: "one", layers: [][]entry{{image, a, b}}, modules: "a b"},
		{name: "two", layers: [][]entry{{image, a}, {b}}, modules: "a b"},
		{name: "replaced, by the other name of the directory", layers: [][]entry{{image, a, b}, {fast}}, modules: "a:b b"},
		{name: "removed", layers: [][]entry{{image, a, b}, {{name: dirOf + "/kernel/.wh.a.ko"}}}, modules: "b"},
		{name: "removed and made again", layers: [][]entry{{image, a, b}, {{name: dirOf + "/kernel/.wh.a.ko"}, a}}, modules: "a b"},
		{name: "removed in the middle", layers: [][]entry{{image, a, b}, {{name: "usr/lib/modules/.wh." + ociRelease}}, {a}}, modules: "a"},
		{name: "all removed", layers: [][]entry{{image, a, b}, {{name: ".wh.usr"}}}},
		{name: "opaque", layers: [][]entry{{image, a}, {{name: dirOf + "/kernel/.wh..wh..opq"}, b}}, modules: "b"},
		{name: "a file in place of a directory", layers: [][]entry{{image, a, b}, {{name: dirOf, data: "x"}}}},
		{name: "a link in place of a directory", layers: [][]entry{{image, a, b}, {link(dirOf, "/etc")}}},
		{name: "a directory in place of a file", layers: [][]entry{{image, {name: "boot/config", data: "old"}}, {dir("boot/config")}}},
		{name: "directories once more", layers: [][]entry{{image, a}, {dir("./usr/lib/modules/"), dir(dirOf), b}}, modules: "a b"},
		{name: "a link that comes later", layers: [][]entry{{image, a}, {link("lib", "/usr/lib")}}, modules: "a"},
		{name: "a whiteout is no file", layers: [][]entry{{image, {name: "boot/.wh.config"}}}},
		{name: "configuration", layers: [][]entry{{image, {name: "boot/config-" + ociRelease, data: "one"}}, {{name: "./boot/config-" + ociRelease, data: "two"}}}, config: "two"},
		{name: "modules of another release", layers: [][]entry{{image, {name: "lib/modules/5.10.1/kernel/x.ko", data: string(fake.Module("depends="))}}}},
		{name: "both releases", layers: [][]entry{{image, b, {name: "lib/modules/5.10.1/kernel/x.ko", data: string(fake.Module("depends="))}}}, modules: "b"},
		{name: "image beside the modules, and in boot", layers: [][]entry{{imageEntry(dirOf+"/vmlinuz", ociRelease), image, a}}, modules: "a"},
		{name: "a vmlinux", layers: [][]entry{{{name: "boot/vmlinux", data: string(fake.Vmlinux(ociRelease, true))}, a}}, modules: "a"},
		{name: "a vmlinux and a vmlinuz", layers: [][]entry{{{name: "boot/vmlinux", data: string(fake.Vmlinux("6.12.9", true))}, image, a}}, modules: "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newRegistry(t)
			var layers [][]byte
			for i, entries := range test.layers {
				layers = append(layers, fake.Compress([]string{"", "gz", "zst"}[i], layer(entries...)))
			}
			server.pushImage(t, "6.12", "amd64", layers...)
			s := ociSetting(t, server.image())
			k, err := s.resolve(t, "image")
			assert.NilError(t, err)
			assert.Equal(t, k.Release, ociRelease)
			var modules []string
			if k.ModulesDir != "" {
				ix, err := k.index()
				assert.NilError(t, err)
				for _, m := range ix.Modules {
					modules = append(modules, strings.Join(append([]string{m.Name}, m.Depends...), ":"))
				}
			}
			assert.Equal(t, strings.Join(modules, " "), test.modules)
			config := ""
			if k.ConfigPath != "" {
				config = readFile(t, k.ConfigPath)
			}
			assert.Equal(t, config, test.config)
			_, err = os.Stat(filepath.Join(filepath.Dir(k.ImagePath), dirReleases))
			assert.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

// TestOCIRefuses: images that are damaged, hostile or missing give an error that names the image,
// and leave nothing. The next source is tried.
func TestOCIRefuses(t *testing.T) {
	image := imageEntry("boot/vmlinuz", ociRelease)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	type refusal struct {
		name   string
		layers [][]byte
		fault  func(*ociRegistry, ocispec.Descriptor)
		arch   string
		err    string
		damage bool
	}
	tests := []refusal{
		{name: "name with dots", layers: [][]byte{layer(image, entry{name: "boot/../../escaped", data: "x"})}, err: "leads out of the image"},
		{name: "dots at the beginning", layers: [][]byte{layer(entry{name: "../boot/vmlinuz", data: image.data})}, err: "leads out of the image"},
		{name: "an image that is a link", layers: [][]byte{layer(link("boot/vmlinuz", "/etc/passwd"))}, err: "boot/vmlinuz is no regular file"},
		{name: "an image that is a hard link", layers: [][]byte{layer(entry{name: "boot/vmlinuz", kind: tar.TypeLink, link: "../../etc/passwd"})}, err: "boot/vmlinuz is no regular file"},
		{name: "an image that is a device", layers: [][]byte{layer(entry{name: "boot/vmlinuz", kind: tar.TypeChar})}, err: "boot/vmlinuz is no regular file"},
		{name: "a FIFO that replaces the image", layers: [][]byte{layer(image), layer(entry{name: "boot/vmlinuz", kind: tar.TypeFifo})}, err: "boot/vmlinuz is no regular file"},
		{name: "removed", layers: [][]byte{layer(image), layer(entry{name: "boot/.wh.vmlinuz"})}, err: "there is no kernel image"},
		{name: "nothing", layers: [][]byte{layer()}, err: "there is no kernel image"},
		{name: "twice", layers: [][]byte{layer(image, image)}, err: "twice in one layer"},
		{name: "two kernels", layers: [][]byte{layer(imageEntry("boot/vmlinuz-6.1.1", "6.1.1"), imageEntry("boot/vmlinuz-6.1.2", "6.1.2"))}, err: "which one is meant"},
		{name: "huge", layers: [][]byte{fake.Compress("zst", layer(image, entry{name: "boot/config", data: strings.Repeat("x", 1<<20)}))}, err: "unpack to more than"},
		{name: "huge and not wanted", layers: [][]byte{layer(image), fake.Compress("zst", layer(entry{name: "x", data: strings.Repeat("x", 1<<20)}))}, err: "unpack to more than"},
		{name: "no tar", layers: [][]byte{[]byte(strings.Repeat("rubbish ", 1000))}, err: "layer "},
		{name: "a tar that ends too soon", layers: [][]byte{layer(image)[:1000]}, err: "unexpected EOF"},
		{name: "no bzImage", layers: [][]byte{layer(entry{name: "boot/vmlinuz", data: strings.Repeat("x", 4096)})}, err: "not a kernel image"},
		{name: "a vmlinux that cannot be booted", layers: [][]byte{layer(entry{name: "boot/vmlinux", data: string(fake.Vmlinux(ociRelease, false))})}, err: "PVH"},
		{name: "a module that is none", layers: [][]byte{layer(image, entry{name: "lib/modules/" + ociRelease + "/kernel/x.ko", data: "x"})}, err: "kernel/x.ko"},
		{name: "for another machine", arch: "arm64", layers: [][]byte{layer(image)}, err: "it is for linux/arm64, not for linux/amd64"},
		{name: "no layers", err: "it has no layers"},
		{name: "no such tag", fault: func(s *ociRegistry, _ ocispec.Descriptor) { s.breaks("/manifests/6.12", http.NotFound) }, err: "not there (404)"},
		{name: "unauthorized", fault: func(s *ociRegistry, _ ocispec.Descriptor) { s.breaks("/manifests/6.12", status(401)) }, err: "(401 Unauthorized): it is not there, or not for everyone; `docker login 127.0.0.1:"},
		{name: "asked for a password", fault: func(s *ociRegistry, _ ocispec.Descriptor) {
			s.breaks("/manifests/6.12", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(401)
			})
		}, err: "(401 Unauthorized): it is not there"},
		{name: "denied", fault: func(s *ociRegistry, _ ocispec.Descriptor) { s.breaks("/manifests/6.12", status(403)) }, err: "(403 Forbidden)"},
		{name: "a blob denied", fault: func(s *ociRegistry, d ocispec.Descriptor) { s.breaks(d.Digest.String(), status(403)) }, err: "(403 Forbidden)"},
		{name: "too many requests", fault: func(s *ociRegistry, _ ocispec.Descriptor) {
			s.breaks("/manifests/6.12", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(429)
				io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"not so fast"}]}`)
			})
		}, err: "429 Too Many Requests: toomanyrequests: not so fast"},
		{name: "out of order", fault: func(s *ociRegistry, _ ocispec.Descriptor) { s.breaks("/manifests/6.12", status(500)) }, err: "says 500 Internal Server Error"},
		{name: "not a manifest", fault: func(s *ociRegistry, _ ocispec.Descriptor) {
			s.breaks("/manifests/6.12", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				io.WriteString(w, "rubbish")
			})
		}, err: "manifest: "},
		{name: "dead", fault: func(s *ociRegistry, _ ocispec.Descriptor) { s.Close() }, err: " cannot be reached: "},
		{name: "another manifest", damage: true, fault: func(s *ociRegistry, d ocispec.Descriptor) {
			s.breaks("/manifests/6.12", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				w.Header().Set("Docker-Content-Digest", d.Digest.String())
				io.WriteString(w, "{}")
			})
		}, err: "the digest of the manifest is"},
		{name: "a damaged blob", damage: true, fault: func(s *ociRegistry, d ocispec.Descriptor) {
			s.breaks(d.Digest.String(), func(w http.ResponseWriter, _ *http.Request) { w.Write(flip(bytes.Repeat([]byte("x"), int(d.Size)))) })
		}, err: "its SHA-256 is"},
		{name: "a longer blob", fault: func(s *ociRegistry, d ocispec.Descriptor) {
			s.breaks(d.Digest.String(), func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, d.Size+1)) })
		}, err: "Content-Length"},
		{name: "a longer blob of unknown length", damage: true, fault: func(s *ociRegistry, d ocispec.Descriptor) {
			s.breaks(d.Digest.String(), func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				w.Write(make([]byte, d.Size+1))
			})
		}, err: "larger than"},
		{name: "a blob that breaks off", fault: func(s *ociRegistry, d ocispec.Descriptor) {
			s.breaks(d.Digest.String(), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(d.Size))
				w.Write(make([]byte, d.Size/2))
			})
		}, err: "short read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := newRegistry(t)
			if test.layers == nil && test.fault != nil {
				test.layers = [][]byte{fake.Compress("gz", kernelLayer())}
			}
			if test.arch == "" {
				test.arch = "amd64"
			}
			server.pushImage(t, "6.12", test.arch, test.layers...)
			if test.fault != nil {
				blob := test.layers[0]
				test.fault(server, ocispec.Descriptor{Digest: godigest.FromBytes(blob), Size: int64(len(blob))})
			}
			a := newArchive(t, "bookworm")
			a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
			serve(t, a)
			s := ociSetting(t, server.image(), keyring(t, a.key))
			s.maxUnpacked = 1 << 20
			_, err := s.resolve(t, "image")
			assert.ErrorContains(t, err, test.err)
			assert.Check(t, is.Contains(err.Error(), "kernel image: OCI image "+server.image()+":6.12"))
			assert.Check(t, !strings.Contains(err.Error(), apt.MirrorEnv), "%v", err)
			assert.Equal(t, errors.Is(err, digest.ErrIntegrity), test.damage)
			s.assertNothingLeft(t, cache.Kernels)
			_, err = os.Stat(filepath.Join(s.Cache, catalog.LockName))
			assert.ErrorIs(t, err, os.ErrNotExist)
			_, err = os.Stat(filepath.Join(s.Cache, cache.Kernels, "escaped"))
			assert.ErrorIs(t, err, os.ErrNotExist)

			k, err := s.resolve(t, "either")
			assert.NilError(t, err)
			assert.Equal(t, k.Release, "6.1.0-10-cloud-amd64")
		})
	}
}

// TestOCIMediaTypes: other forms of layers and manifests that exist.
func TestOCIMediaTypes(t *testing.T) {
	push := func(t *testing.T, mediaType string) error {
		server := newRegistry(t)
		manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: "application/vnd.docker.distribution.manifest.v2+json"}
		manifest.Config = server.push(t, "application/vnd.docker.container.image.v1+json", []byte(`{"os":"linux","architecture":"amd64"}`), "")
		manifest.Layers = []ocispec.Descriptor{server.push(t, mediaType, fake.Compress("gz", kernelLayer()), "")}
		server.push(t, manifest.MediaType, asJSON(t, manifest), "6.12")
		_, err := ociSetting(t, server.image()).resolve(t, "image")
		return err
	}
	for _, good := range []string{dockerTar, ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerZstd} {
		assert.NilError(t, push(t, good), good)
	}
	for _, bad := range []string{"application/octet-stream", ocispec.MediaTypeImageLayerGzip + "+encrypted"} {
		assert.ErrorContains(t, push(t, bad), "is no layer of files", bad)
	}
}

// TestOCIPlatforms: for an index without the wanted platform the error lists those that it has.
func TestOCIPlatforms(t *testing.T) {
	server := newRegistry(t)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	index.Manifests = []ocispec.Descriptor{server.pushImage(t, "", "arm64", kernelLayer()), server.pushImage(t, "", "s390x", kernelLayer())}
	server.push(t, index.MediaType, asJSON(t, index), "6.12")
	_, err := ociSetting(t, server.image()).resolve(t, "image")
	assert.ErrorContains(t, err, "there is none for linux/amd64, only for linux/arm64, linux/s390x")
}

// TestOCICredentials: a registry that requires a login gets the credentials of `docker login`.
func TestOCICredentials(t *testing.T) {
	const secret = "somebody:secret"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(secret))
	server := newRegistry(t)
	server.pushImage(t, "6.12", "amd64", kernelLayer())
	token := func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			if r.Header.Get("Authorization") != basic {
				w.WriteHeader(401)
				return true
			}
			io.WriteString(w, `{"token":"opensesame"}`)
			return true
		case r.Header.Get("Authorization") != "Bearer opensesame":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, server.URL))
			w.WriteHeader(401)
			return true
		}
		return false
	}
	password := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == basic {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
		return true
	}
	host := strings.TrimPrefix(server.URL, "http://")
	login := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(secret)))
	for _, test := range []struct {
		name, config string
		fault        func(http.ResponseWriter, *http.Request) bool
		err, note    string
	}{
		{"basic", login, password, "", ""},
		{"token", login, token, "", ""},
		{"nobody", "", password, "(401 Unauthorized)", ""},
		{"nobody, token", "", token, "(401 Unauthorized)", ""},
		{"another host", strings.Replace(login, host, "ghcr.io", 1), password, "(401 Unauthorized)", ""},
		{"a helper that is not there", fmt.Sprintf(`{"credHelpers":{%q:"no-such-helper"}}`, host), password, "(401 Unauthorized)", "is asked as nobody"},
		{"damaged", "{", password, "(401 Unauthorized)", "credentials of docker cannot be read"},
		{"damaged, not needed", "{", nil, "", "credentials of docker cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.fault = test.fault
			config := t.TempDir()
			t.Setenv("DOCKER_CONFIG", config)
			if test.config != "" {
				assert.NilError(t, os.WriteFile(filepath.Join(config, "config.json"), []byte(test.config), 0o600))
			}
			s := ociSetting(t, server.image())
			_, err := s.resolve(t, "image")
			if test.err == "" {
				assert.NilError(t, err)
			} else {
				assert.ErrorContains(t, err, test.err)
				assert.Check(t, !strings.Contains(err.Error(), "secret"))
			}
			assert.Check(t, is.Contains(s.said(), test.note))
			lock, _ := os.ReadFile(filepath.Join(s.Cache, catalog.LockName))
			assert.Check(t, !strings.Contains(string(lock), "secret"))
		})
	}
}

// TestOCIProxy: registries are asked through the proxy of the environment. Go
// reads that once, and never uses one for this machine.
func TestOCIProxy(t *testing.T) {
	if config := os.Getenv("VMIMAGE_TEST_PROXY"); config != "" {
		store, err := Open(Options{Config: config, Cache: t.TempDir()})
		assert.NilError(t, err)
		defer store.Close()
		_, err = store.Resolve(t.Context(), "image")
		assert.ErrorContains(t, err, "OCI image registry.example/cilium/ci-kernels:6.12: ")
		return
	}
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	s := ociSetting(t, "registry.example"+ociRepo)
	cmd := exec.Command(os.Args[0], "-test.run=^TestOCIProxy$")
	cmd.Env = append(os.Environ(), "VMIMAGE_TEST_PROXY="+s.Config, "HTTPS_PROXY="+proxy.URL, "DOCKER_CONFIG="+t.TempDir())
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Equal(t, <-asked, "CONNECT registry.example:443")
}

// TestSnapshotThenOCI: the errors of all sources are one error, which names available kernels.
func TestSnapshotThenOCI(t *testing.T) {
	server := newRegistry(t)
	serve(t)
	s := newSetting(t, keyring(t, newKey(t, nil)))
	config := strings.Replace(testConfig, `release: "5.13.*-cloud-amd64"}`, `release: "5.13.*-cloud-amd64"}
      - oci: {image: "`+server.image()+`", tag: "5.13"}`, 1)
	assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
	_, err := s.resolve(t, "5.13")
	var unavailable *UnavailableError
	assert.Assert(t, errors.As(err, &unavailable))
	assert.ErrorIs(t, err, fetch.ErrGone)
	assert.Check(t, strings.HasSuffix(err.Error(), "; OCI image "+server.image()+":5.13: not there (404); the nearest kernels that can be had: 5.10, 6.1"), "%v", err)

	server.pushImage(t, "5.13", "amd64", layer(imageEntry("boot/vmlinuz", "5.13.19")))
	k, err := s.resolve(t, "5.13")
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "5.13.19")
}

// TestOCITogether: concurrent runs download each layer once.
func TestOCITogether(t *testing.T) {
	server := newRegistry(t)
	server.pushImage(t, "6.12", "amd64", kernelLayer())
	server.asked = nil
	s := ociSetting(t, server.image())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := s.resolve(t, "image")
			assert.Check(t, err)
		})
	}
	group.Wait()
	blob := "GET /v2" + ociRepo + "/blobs/" + godigest.FromBytes(kernelLayer()).String()
	n := 0
	for _, asked := range server.asked {
		if asked == blob {
			n++
		}
	}
	assert.Equal(t, n, 1)
	s.assertNothingLeft(t, cache.Blobs)
}

// FuzzLayers: no layer makes the unpacker write outside the directory, or write files that are no
// part of a kernel.
func FuzzLayers(f *testing.F) {
	f.Add(kernelLayer(), layer(entry{name: "boot/.wh.vmlinuz"}))
	f.Add(layer(entry{name: "../up"}), layer(link("boot", "/etc"), entry{name: "boot/vmlinuz", data: "x"}))
	f.Add(fake.Compress("gz", kernelLayer()), []byte("rubbish"))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		top := t.TempDir()
		u := &unpacker{dir: filepath.Join(top, "kernel"), modules: make(map[string]bool)}
		assert.NilError(t, os.Mkdir(u.dir, 0o755))
		var files []string
		for i, data := range [][]byte{lower, upper} {
			file := filepath.Join(top, fmt.Sprint(i))
			assert.NilError(t, os.WriteFile(file, data, 0o644))
			files = append(files, file)
		}
		_ = oci.ReadLayers(files, 1<<20, u.entry)
		left := map[string]bool{"0": true, "1": true, "kernel": true}
		entries, err := os.ReadDir(top)
		assert.NilError(t, err)
		for _, e := range entries {
			assert.Assert(t, left[e.Name()], e.Name())
		}
		expected := map[string]bool{fileImage: true, fileVmlinux: true, fileConfig: true, dirReleases: true}
		entries, err = os.ReadDir(u.dir)
		assert.NilError(t, err)
		for _, e := range entries {
			assert.Assert(t, expected[e.Name()], path.Join(e.Name(), fmt.Sprint(maps.Keys(expected))))
		}
		assert.Assert(t, cache.Size(u.dir) <= 1<<20)
	})
}
