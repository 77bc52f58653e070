// Package fake makes tiny kernels, modules, packages and archives, for the tests of vmimage and of
// the packages below it.
package fake

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Release is a release of a kernel, for those who do not care which.
const Release = "6.9.1-test"

// Deb makes a Debian package with these files.
func Deb(compression string, files map[string][]byte) []byte {
	var buf bytes.Buffer
	buf.WriteString("!<arch>\n")
	suffix := "." + compression
	for _, m := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", Compress("gz", Tar(map[string][]byte{"./control": []byte("Package: x\n")}))},
		{"data.tar" + suffix, Compress(compression, Tar(files))},
	} {
		fmt.Fprintf(&buf, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		buf.Write(m.data)
		if len(m.data)%2 == 1 {
			buf.WriteByte('\n')
		}
	}
	return buf.Bytes()
}

// Tar makes a tar archive with these files, and a link that leads elsewhere.
func Tar(files map[string][]byte) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		Must(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		Must(err)
	}
	Must(w.WriteHeader(&tar.Header{Name: "./lib/modules/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}))
	Must(w.Close())
	return buf.Bytes()
}

// Must panics for errors that writing to memory cannot have.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Compress compresses in a way that suffixes of files are called after; "" leaves the data as it is.
func Compress(kind string, data []byte) []byte {
	var buf bytes.Buffer
	switch kind {
	case "":
		return data
	case "gz":
		w := gzip.NewWriter(&buf)
		_, err := w.Write(data)
		Must(err)
		Must(w.Close())
	case "zst":
		w, err := zstd.NewWriter(&buf)
		Must(err)
		_, err = w.Write(data)
		Must(err)
		Must(w.Close())
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

// BzImage makes a kernel image with a vmlinux in it.
func BzImage(release, compression string, pvh bool) []byte {
	elf := Vmlinux(release, pvh)
	payload := Compress(compression, elf)
	if compression != "" && compression != "gz" {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(len(elf)))
	}
	return BzImageWith(release, payload)
}

// BzImageWith makes a kernel image with this payload: Documentation/arch/x86/boot.rst has the offsets.
func BzImageWith(release string, payload []byte) []byte {
	const sects = 2
	le := binary.LittleEndian
	image := make([]byte, (sects+1)*512)
	image[0x1f1] = sects
	le.PutUint16(image[0x1fe:], 0xaa55)
	copy(image[0x202:], "HdrS")
	le.PutUint16(image[0x206:], 0x20f)
	le.PutUint16(image[0x20e:], 0x300)
	copy(image[0x500:], release+" (builder@example.org) #1 SMP\x00")
	le.PutUint32(image[0x248:], 16)
	le.PutUint32(image[0x24c:], uint32(len(payload)))
	image = append(image, make([]byte, 16)...)
	return append(append(image, payload...), "the end"...)
}

// Vmlinux makes an ELF kernel: a note, perhaps the one for PVH, and a banner.
func Vmlinux(release string, pvh bool) []byte {
	kind := uint32(18) // XEN_ELFNOTE_PHYS32_ENTRY
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
	Must(binary.Write(&buf, le, h))
	Must(binary.Write(&buf, le, elf.Prog64{Type: uint32(elf.PT_NOTE), Off: 64 + 56, Filesz: uint64(len(note)), Memsz: uint64(len(note))}))
	buf.Write(note)
	fmt.Fprintf(&buf, "\x00Linux version %%s\x00Linux version %s (builder@example.org) #1 SMP\n\x00", release)
	return buf.Bytes()
}

// Modules is a set of modules that need each other.
func Modules(dir string) map[string][]byte {
	zstdModule := Compress("zst", Module("depends=", "alias=pci:v00008086d*"))
	return map[string][]byte{
		dir + "kernel/net/nf-track.ko":       Module("depends=nf_defrag,libcrc", "name=nf_track"),
		dir + "kernel/net/nf_defrag.ko.xz":   Compress("xz", Module("depends=")),
		dir + "kernel/lib/libcrc.ko.zst":     Compress("zst", Module("depends=", "softdep=pre: crc post: other")),
		dir + "kernel/crypto/crc_fast.ko":    Module("depends=", "alias=crc"),
		dir + "kernel/crypto/crc_generic.ko": Module("depends=", "alias=crc", "alias=crypto-crc"),
		dir + "kernel/drivers/card.ko.zst":   zstdModule,
		dir + "kernel/drivers/broken.ko":     Module("depends=nowhere"),
		dir + "kernel/drivers/loop_a.ko":     Module("depends=loop_b"),
		dir + "kernel/drivers/loop_b.ko":     Module("depends=loop_a"),
		dir + "build":                        []byte("not a module"),
	}
}

// Module makes a module with this .modinfo.
func Module(fields ...string) []byte {
	le := binary.LittleEndian
	modinfo := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	h := elf64Header(elf.ET_REL)
	h.Shentsize, h.Shnum, h.Shstrndx = 64, 3, 2
	h.Shoff = uint64(64 + len(modinfo) + len(names))
	var buf bytes.Buffer
	Must(binary.Write(&buf, le, h))
	buf.Write(modinfo)
	buf.Write(names)
	for _, s := range []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(modinfo))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(modinfo)), Size: uint64(len(names))},
	} {
		Must(binary.Write(&buf, le, s))
	}
	return buf.Bytes()
}

func elf64Header(kind elf.Type) elf.Header64 {
	h := elf.Header64{Type: uint16(kind), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}))
	return h
}

// RawImage is an Image of an architecture.
func RawImage(of *arch.Arch, release string) []byte {
	data := make([]byte, 4096)
	copy(data[0x38:], of.ImageMagic)
	return append(data, "Linux version "+release+" (builder) #1 SMP\n"...)
}

// LZ4 compresses as the build of a kernel does.
func LZ4(data []byte) []byte {
	var buf bytes.Buffer
	w := lz4.NewWriter(&buf)
	Must(w.Apply(lz4.LegacyOption(true)))
	_, err := w.Write(data)
	Must(err)
	Must(w.Close())
	return buf.Bytes()
}
