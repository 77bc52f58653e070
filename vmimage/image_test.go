package vmimage

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

const testRelease = "6.9.1-test"

func TestUnpackBzImage(t *testing.T) {
	elf := fake.Vmlinux(testRelease, true)
	images := map[string][]byte{
		"lz4": fake.BzImageWith(testRelease, binary.LittleEndian.AppendUint32(fake.LZ4(elf), uint32(len(elf)))),
	}
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		images[kind] = fake.BzImage(testRelease, kind, true)
	}
	for kind, image := range images {
		t.Run(kind, func(t *testing.T) {
			h, err := readBzHeader(bytes.NewReader(image))
			assert.NilError(t, err)
			assert.Equal(t, h.release, testRelease)
			var out bytes.Buffer
			assert.NilError(t, unpackBzImage(bytes.NewReader(image), h, &out))
			assert.Check(t, bytes.Equal(out.Bytes(), elf))
		})
	}
}

// TestTruncatedBzImage: wherever an image ends too early, there is an error.
func TestTruncatedBzImage(t *testing.T) {
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		image := fake.BzImage(testRelease, kind, true)
		for size := range len(image) - len("the end") {
			r := bytes.NewReader(image[:size])
			h, err := readBzHeader(r)
			if err != nil {
				continue
			}
			var out bytes.Buffer
			assert.Assert(t, unpackBzImage(r, h, &out) != nil, "%s: %d bytes of %d", kind, size, len(image))
		}
	}
}

func TestBzHeaderErrors(t *testing.T) {
	change := func(at int, with ...byte) []byte {
		image := fake.BzImage(testRelease, "gz", true)
		copy(image[at:], with)
		return image
	}
	for _, test := range []struct {
		image []byte
		err   string
	}{
		{nil, "not a bzImage"},
		{[]byte("text"), "not a bzImage"},
		{change(bzBootFlag, 0), "not a bzImage"},
		{change(bzMagic, 'X'), "not a bzImage"},
		{change(bzVersion, 7, 2), "boot protocol 2.07"},
		{change(bzKernelVersion, 0xff, 0xff), "names no kernel release"},
		{change(0x500, '/'), "names no kernel release"},
	} {
		_, err := readBzHeader(bytes.NewReader(test.image))
		assert.Check(t, is.ErrorContains(err, test.err))
	}
}

func TestElfRelease(t *testing.T) {
	padded := append(make([]byte, 1<<20-70), fake.Vmlinux(testRelease, true)...)
	for _, data := range [][]byte{fake.Vmlinux(testRelease, true), padded} {
		release, err := elfRelease(bytes.NewReader(data))
		assert.NilError(t, err)
		assert.Equal(t, release, testRelease)
	}
	_, err := elfRelease(strings.NewReader("Linux version "))
	assert.ErrorContains(t, err, "no kernel version")
}

// TestResolvePath: images and trees by their paths, with what lies beside them.
func TestResolvePath(t *testing.T) {
	s := newSetting(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, data, 0o644))
		return file
	}
	image := write("boot/vmlinuz-"+testRelease, fake.BzImage(testRelease, "zst", true))
	config := write("boot/config-"+testRelease, []byte("x"))
	write("lib/modules/"+testRelease+"/kernel/a.ko", fake.Module("depends="))
	k, err := s.resolve(t, image)
	assert.NilError(t, err)
	assert.Equal(t, k.Release, testRelease)
	assert.Equal(t, k.Version, "6.9")
	assert.Equal(t, k.ConfigPath, config)
	assert.Equal(t, readFile(t, k.BootPath), string(fake.Vmlinux(testRelease, true)))
	modules, err := k.Modules("a")
	assert.NilError(t, err)
	assert.Equal(t, len(modules), 1)

	elf := write("elsewhere/elf/vmlinux", fake.Vmlinux(testRelease, true))
	k, err = s.resolve(t, elf)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, elf)
	assert.Equal(t, k.ConfigPath, "")
	_, err = k.Modules("a")
	assert.ErrorContains(t, err, "no modules came with it")

	slow := write("slow/bzImage", fake.BzImage(testRelease, "xz", false))
	k, err = s.resolve(t, slow)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, slow)
	assert.Check(t, is.Contains(s.said(), "no PVH entry point"))

	strange := write("strange/bzImage", fake.BzImageWith(testRelease, []byte("lzo or whatever")))
	k, err = s.resolve(t, strange)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, strange)

	for _, bad := range [][2]string{
		{"text", "not a kernel image"}, {"", "not a kernel image"}, {string(fake.Vmlinux(testRelease, false)), "give the bzImage instead"},
		{"\x7fELF", "vmlinux: "}, {string(fake.BzImage(testRelease, "gz", true)[:1600]), "payload"},
	} {
		_, err := s.resolve(t, write("bad", []byte(bad[0])))
		assert.Check(t, is.ErrorContains(err, bad[1]))
	}
	s.assertNothingLeft(t)
}

// TestURL: a file of known digest may be an image, a package or an archive.
func TestURL(t *testing.T) {
	files := map[string][]byte{
		"bzImage": fake.BzImage(testRelease, "gz", true),
		"vmlinux": fake.Vmlinux(testRelease, true),
		"deb":     oldDeb(testRelease),
		"tar": fake.Compress("zst", fake.Tar(map[string][]byte{
			"boot/vmlinuz": fake.BzImage(testRelease, "zst", true), "lib/modules/" + testRelease + "/kernel/a.ko": fake.Module("depends="),
		})),
	}
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			server.files["/"+name] = data
			s := newSetting(t)
			config := "kernels: [{name: a, arch: amd64, version: '6.9', sources: [{url: {address: " + server.URL + "/" + name + ", sha256: " + sha256Of(data) + "}}]}]"
			assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
			for range 2 {
				k, err := s.resolve(t, "a")
				assert.NilError(t, err)
				assert.Equal(t, k.Release, testRelease)
				assert.Equal(t, k.Name, "a")
			}
			assert.Equal(t, server.count(name), 1)

			server.change(t, name, flip)
			s.Cache = t.TempDir()
			_, err := s.resolve(t, "a")
			assert.ErrorIs(t, err, digest.ErrIntegrity)
			s.assertNothingLeft(t, dirBlobs, dirKernels)
		})
	}
}

// TestPackageErrors: packages that are signed, but not what they claim.
func TestPackageErrors(t *testing.T) {
	const release = "6.1.0-10-cloud-amd64"
	whole := oldDeb(release)
	for _, test := range []struct {
		name string
		deb  []byte
		err  string
	}{
		{"text", []byte("text"), "no ar archive"},
		{"an empty archive", []byte("!<arch>\n"), "no data archive"},
		{"a truncated package", whole[:len(whole)-200], "data.tar.xz"},
		{"a damaged header", []byte("!<arch>\n" + strings.Repeat("x", 60)), "damaged member header"},
		{"a huge member", []byte("!<arch>\n" + strings.Repeat(" ", 48) + "-1        `\n"), "damaged member size"},
		{"no image", fake.Deb("gz", testModules("lib/modules/"+release+"/")), "no kernel image"},
		{"another image", fake.Deb("gz", map[string][]byte{"boot/vmlinuz-" + release: fake.BzImage(testRelease, "gz", true)}), "its image says " + testRelease},
		{"a damaged image", fake.Deb("gz", map[string][]byte{"boot/vmlinuz-" + release: fake.BzImage(release, "gz", true)[:1600]}), "payload"},
		{"a damaged module", fake.Deb("gz", map[string][]byte{
			"boot/vmlinuz-" + release: fake.BzImage(release, "gz", true), "lib/modules/" + release + "/kernel/a.ko": []byte("text"),
		}), "kernel/a.ko"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newArchive(t, "bookworm")
			a.add("linux-image-"+release, "6.1.101-1", "kmod", test.deb)
			serve(t, a)
			s := newSetting(t, keyring(t, a.key))
			_, err := s.resolve(t, "6.1")
			assert.ErrorContains(t, err, test.err)
			s.assertNothingLeft(t, dirKernels)
		})
	}
}

func FuzzBzImage(f *testing.F) {
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		f.Add(fake.BzImage(testRelease, kind, true))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		h, err := readBzHeader(bytes.NewReader(image))
		if err != nil {
			return
		}
		if !isRelease(h.release) {
			t.Errorf("accepted the release %q", h.release)
		}
		var out bytes.Buffer
		if unpackBzImage(bytes.NewReader(image), h, &out) == nil {
			_ = checkPVH(bytes.NewReader(out.Bytes()))
		}
	})
}
