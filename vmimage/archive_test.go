package vmimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
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
	"github.com/klauspost/compress/zstd"
	"gotest.tools/v3/assert"
)

// This file builds a Debian archive in memory, signed, with real packages of
// tiny kernels, and serves it.

const timestamp = "20210828T000000Z"

const arMagic = "!<arch>\n"

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
	a.add(prefixImage+release, version, prefixBinary+release+" (= "+version+")", deb("gz", nil))
	a.add(prefixBinary+release, version, "", deb("zst", map[string][]byte{dir + "vmlinuz": bzImage(release, "xz", true)}))
	a.add(prefixModules+release, version, "kmod", deb("xz", testModules(dir)))
	a.add(prefixBase+release, version, "", deb("gz", map[string][]byte{
		dir + "config": []byte("CONFIG_BPF=y\n"), dir + "System.map": []byte("none"),
		dir + "modules.builtin": []byte("kernel/lib/built-in.ko\n"), dir + "modules.builtin.modinfo": []byte("built_in.alias=crypto-builtin\x00"),
	}))
}

// testModules is a set of modules that need each other.
func testModules(dir string) map[string][]byte {
	zstdModule := compress("zst", module("depends=", "alias=pci:v00008086d*"))
	return map[string][]byte{
		dir + "kernel/net/nf-track.ko":       module("depends=nf_defrag,libcrc", "name=nf_track"),
		dir + "kernel/net/nf_defrag.ko.xz":   compress("xz", module("depends=")),
		dir + "kernel/lib/libcrc.ko.zst":     compress("zst", module("depends=", "softdep=pre: crc post: other")),
		dir + "kernel/crypto/crc_fast.ko":    module("depends=", "alias=crc"),
		dir + "kernel/crypto/crc_generic.ko": module("depends=", "alias=crc", "alias=crypto-crc"),
		dir + "kernel/drivers/card.ko.zst":   zstdModule,
		dir + "kernel/drivers/broken.ko":     module("depends=nowhere"),
		dir + "kernel/drivers/loop_a.ko":     module("depends=loop_b"),
		dir + "kernel/drivers/loop_b.ko":     module("depends=loop_a"),
		dir + "build":                        []byte("not a module"),
	}
}

// oldDeb is a package with everything of one kernel.
func oldDeb(release string) []byte {
	files := testModules("./lib/modules/" + release + "/")
	files["./boot/vmlinuz-"+release] = bzImage(release, "gz", true)
	files["./boot/config-"+release] = []byte("CONFIG_BPF=y\n")
	files["./boot/System.map-"+release] = []byte("none")
	files["./lib/modules/"+release+"/modules.builtin"] = []byte("kernel/lib/built-in.ko\n")
	files["./lib/modules/"+release+"/modules.builtin.modinfo"] = []byte("built_in.alias=crypto-builtin\x00")
	return deb("xz", files)
}

// files returns all files of the archive, by their path on the server.
func (a *debArchive) files(t testing.TB) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for name, data := range a.pool {
		out[path.Join(a.prefix, name)] = data
	}
	packages := compress(strings.TrimPrefix(a.index, "."), []byte(strings.Join(a.stanzas, "\n")))
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
	at, err := parseDate(a.date)
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
	t.Setenv(MirrorEnv, s.URL+"/debian")
	t.Setenv(SnapshotEnv, s.URL+"/snapshot")
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

// deb makes a Debian package with these files.
func deb(compression string, files map[string][]byte) []byte {
	var buf bytes.Buffer
	buf.WriteString(arMagic)
	suffix := "." + compression
	for _, m := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", compress("gz", tarball(map[string][]byte{"./control": []byte("Package: x\n")}))},
		{"data.tar" + suffix, compress(compression, tarball(files))},
	} {
		fmt.Fprintf(&buf, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		buf.Write(m.data)
		if len(m.data)%2 == 1 {
			buf.WriteByte('\n')
		}
	}
	return buf.Bytes()
}

func tarball(files map[string][]byte) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		must(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		must(err)
	}
	must(w.WriteHeader(&tar.Header{Name: "./lib/modules/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}))
	must(w.Close())
	return buf.Bytes()
}

// must panics for errors that writing to memory cannot have.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func compress(kind string, data []byte) []byte {
	var buf bytes.Buffer
	switch kind {
	case "":
		return data
	case "gz":
		w := gzip.NewWriter(&buf)
		_, err := w.Write(data)
		must(err)
		must(w.Close())
	case "zst":
		w, err := zstd.NewWriter(&buf)
		must(err)
		_, err = w.Write(data)
		must(err)
		must(w.Close())
	case "xz":
		writeXZ(&buf, data)
	default:
		panic(kind)
	}
	return buf.Bytes()
}

// writeXZ writes an xz file of uncompressed chunks, which is enough for the tests.
func writeXZ(w *bytes.Buffer, data []byte) {
	le := binary.LittleEndian
	withCRC := func(b []byte) []byte { return le.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	flags := []byte{0, 1} // the check is a CRC32
	w.WriteString("\xfd7zXZ\x00")
	w.Write(le.AppendUint32(slices.Clone(flags), crc32.ChecksumIEEE(flags)))

	start := w.Len()
	// One filter, LZMA2 with a dictionary of 4 KiB.
	w.Write(withCRC([]byte{2, 0, 0x21, 1, 0, 0, 0, 0}))
	for rest, first := data, true; len(rest) > 0; first = false {
		n := min(len(rest), 1<<16)
		control := byte(2)
		if first {
			control = 1 // resets the dictionary
		}
		w.Write([]byte{control, byte((n - 1) >> 8), byte(n - 1)})
		w.Write(rest[:n])
		rest = rest[n:]
	}
	w.WriteByte(0)
	unpadded := w.Len() - start + 4
	for (w.Len()-start)%4 != 0 {
		w.WriteByte(0)
	}
	w.Write(le.AppendUint32(nil, crc32.ChecksumIEEE(data)))

	index := []byte{0, 1}
	index = binary.AppendUvarint(index, uint64(unpadded))
	index = binary.AppendUvarint(index, uint64(len(data)))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = withCRC(index)
	w.Write(index)
	footer := append(le.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	w.Write(le.AppendUint32(nil, crc32.ChecksumIEEE(footer)))
	w.Write(footer)
	w.WriteString("YZ")
}

// bzImage makes a kernel image with a vmlinux in it.
func bzImage(release, compression string, pvh bool) []byte {
	elf := vmlinux(release, pvh)
	payload := compress(compression, elf)
	if compression != "" && compression != "gz" {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(len(elf)))
	}
	return bzImageWith(release, payload)
}

func bzImageWith(release string, payload []byte) []byte {
	const sects = 2
	le := binary.LittleEndian
	image := make([]byte, (sects+1)*sector)
	image[bzSetupSects] = sects
	le.PutUint16(image[bzBootFlag:], 0xaa55)
	copy(image[bzMagic:], "HdrS")
	le.PutUint16(image[bzVersion:], 0x20f)
	le.PutUint16(image[bzKernelVersion:], 0x300)
	copy(image[0x500:], release+" (builder@example.org) #1 SMP\x00")
	le.PutUint32(image[bzPayloadOffset:], 16)
	le.PutUint32(image[bzPayloadLength:], uint32(len(payload)))
	image = append(image, make([]byte, 16)...)
	return append(append(image, payload...), "the end"...)
}

// vmlinux makes an ELF kernel: a note, perhaps the one for PVH, and a banner.
func vmlinux(release string, pvh bool) []byte {
	kind := uint32(pvhNoteType)
	if !pvh {
		kind = 1
	}
	le := binary.LittleEndian
	note := le.AppendUint32(nil, 4)
	note = le.AppendUint32(note, 4)
	note = le.AppendUint32(note, kind)
	note = append(note, "Xen\x00\x00\x00\x00\x01"...)
	var buf bytes.Buffer
	h := elf64Header(elf.ET_EXEC)
	h.Phoff, h.Phnum, h.Phentsize = 64, 1, 56
	must(binary.Write(&buf, le, h))
	must(binary.Write(&buf, le, elf.Prog64{Type: uint32(elf.PT_NOTE), Off: 64 + 56, Filesz: uint64(len(note)), Memsz: uint64(len(note))}))
	buf.Write(note)
	fmt.Fprintf(&buf, "\x00Linux version %%s\x00Linux version %s (builder@example.org) #1 SMP\n\x00", release)
	return buf.Bytes()
}

// module makes a module with this .modinfo.
func module(fields ...string) []byte {
	le := binary.LittleEndian
	modinfo := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	h := elf64Header(elf.ET_REL)
	h.Shentsize, h.Shnum, h.Shstrndx = 64, 3, 2
	h.Shoff = uint64(64 + len(modinfo) + len(names))
	var buf bytes.Buffer
	must(binary.Write(&buf, le, h))
	buf.Write(modinfo)
	buf.Write(names)
	for _, s := range []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(modinfo))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(modinfo)), Size: uint64(len(names))},
	} {
		must(binary.Write(&buf, le, s))
	}
	return buf.Bytes()
}

func elf64Header(kind elf.Type) elf.Header64 {
	h := elf.Header64{Type: uint16(kind), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}))
	return h
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
