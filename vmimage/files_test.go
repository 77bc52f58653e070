package vmimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

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
	image := write("boot/vmlinuz-"+fake.Release, fake.BzImage(fake.Release, "zst", true))
	config := write("boot/config-"+fake.Release, []byte("x"))
	write("lib/modules/"+fake.Release+"/kernel/a.ko", fake.Module("depends="))
	k, err := s.resolve(t, image)
	assert.NilError(t, err)
	assert.Equal(t, k.Release, fake.Release)
	assert.Equal(t, k.Version, "6.9")
	assert.Equal(t, k.ConfigPath, config)
	assert.Equal(t, readFile(t, k.BootPath), string(fake.Vmlinux(fake.Release, true)))
	modules, err := k.Modules("a")
	assert.NilError(t, err)
	assert.Equal(t, len(modules), 1)

	elf := write("elsewhere/elf/vmlinux", fake.Vmlinux(fake.Release, true))
	k, err = s.resolve(t, elf)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, elf)
	assert.Equal(t, k.ConfigPath, "")
	_, err = k.Modules("a")
	assert.ErrorContains(t, err, "no modules came with it")

	slow := write("slow/bzImage", fake.BzImage(fake.Release, "xz", false))
	k, err = s.resolve(t, slow)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, slow)
	assert.Check(t, is.Contains(s.said(), "no PVH entry point"))

	strange := write("strange/bzImage", fake.BzImageWith(fake.Release, []byte("lzo or whatever")))
	k, err = s.resolve(t, strange)
	assert.NilError(t, err)
	assert.Equal(t, k.BootPath, strange)

	for _, bad := range [][2]string{
		{"text", "not a kernel image"}, {"", "not a kernel image"}, {string(fake.Vmlinux(fake.Release, false)), "give the bzImage instead"},
		{"\x7fELF", "vmlinux: "}, {string(fake.BzImage(fake.Release, "gz", true)[:1600]), "payload"},
	} {
		_, err := s.resolve(t, write("bad", []byte(bad[0])))
		assert.Check(t, is.ErrorContains(err, bad[1]))
	}
	s.assertNothingLeft(t)
}

// TestURL: a file of known digest may be an image, a package or an archive.
func TestURL(t *testing.T) {
	files := map[string][]byte{
		"bzImage": fake.BzImage(fake.Release, "gz", true),
		"vmlinux": fake.Vmlinux(fake.Release, true),
		"deb":     oldDeb(fake.Release),
		"tar": fake.Compress("zst", fake.Tar(map[string][]byte{
			"boot/vmlinuz": fake.BzImage(fake.Release, "zst", true), "lib/modules/" + fake.Release + "/kernel/a.ko": fake.Module("depends="),
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
				assert.Equal(t, k.Release, fake.Release)
				assert.Equal(t, k.Name, "a")
			}
			assert.Equal(t, server.count(name), 1)

			server.change(t, name, flip)
			s.Cache = t.TempDir()
			_, err := s.resolve(t, "a")
			assert.ErrorIs(t, err, digest.ErrIntegrity)
			s.assertNothingLeft(t, cache.Blobs, cache.Kernels)
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
		{"no image", fake.Deb("gz", fake.Modules("lib/modules/"+release+"/")), "no kernel image"},
		{"another image", fake.Deb("gz", map[string][]byte{"boot/vmlinuz-" + release: fake.BzImage(fake.Release, "gz", true)}), "its image says " + fake.Release},
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
			s.assertNothingLeft(t, cache.Kernels)
		})
	}
}
