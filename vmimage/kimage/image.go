// Package kimage reads kernel images: the bzImage of x86, the Image of other architectures, and the
// vmlinux in them. [Read] tells what an image is, and [WriteVmlinux] takes a bzImage apart, so that
// guests need not.
package kimage

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
)

// Fields of the x86 boot protocol header, as offsets into a bzImage
// (Documentation/arch/x86/boot.rst).
const (
	bzSetupSects    = 0x1f1 // number of 512-byte sectors of real-mode code
	bzBootFlag      = 0x1fe // 0xaa55
	bzMagic         = 0x202 // "HdrS"
	bzVersion       = 0x206 // protocol version
	bzKernelVersion = 0x20e // offset, less 0x200, of the version string
	bzPayloadOffset = 0x248 // from the protected-mode code, since protocol 2.08
	bzPayloadLength = 0x24c
	bzHeaderEnd     = 0x250

	bzVersion208 = 0x208
	sector       = 512
)

// A kernel with this ELF note can be started in protected mode, without the
// code that decompresses a bzImage (CONFIG_PVH, Linux 5.0;
// XEN_ELFNOTE_PHYS32_ENTRY in include/xen/interface/elfnote.h).
const (
	pvhNoteOwner = "Xen"
	pvhNoteType  = 18
)

// maxVmlinux bounds what a bzImage may unpack to.
const maxVmlinux = 1 << 30

var (
	errNotBzImage = errors.New("not a bzImage")
	errNotImage   = errors.New("not a kernel image: neither a bzImage nor an Image nor a vmlinux")
	ErrNoPVH      = errors.New("vmlinux has no PVH entry point (CONFIG_PVH)")
)

// BzHeader has the needed fields of the header of a bzImage.
type BzHeader struct {
	release       string
	payload, size int64
}

// readBzHeader reads the header of a bzImage, or returns [errNotBzImage].
func readBzHeader(r io.ReaderAt) (*BzHeader, error) {
	var h [bzHeaderEnd]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errNotBzImage
		}
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(h[bzBootFlag:]) != 0xaa55 || string(h[bzMagic:bzMagic+4]) != "HdrS" {
		return nil, errNotBzImage
	}
	if v := le.Uint16(h[bzVersion:]); v < bzVersion208 {
		return nil, fmt.Errorf("bzImage: boot protocol %d.%02d is older than 2.08", v>>8, v&0xff)
	}
	sects := cmp.Or(int64(h[bzSetupSects]), 4) // as the boot protocol has it
	out := &BzHeader{
		payload: (sects+1)*sector + int64(le.Uint32(h[bzPayloadOffset:])),
		size:    int64(le.Uint32(h[bzPayloadLength:])),
	}
	version := make([]byte, 256)
	n, err := r.ReadAt(version, int64(le.Uint16(h[bzKernelVersion:]))+0x200)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// "6.12.107-cloud-amd64 (builder) #1 SMP ..."
	text, _, ok := strings.Cut(string(version[:n]), "\x00")
	release, _, _ := strings.Cut(text, " ")
	if !ok || !IsRelease(release) {
		return nil, errors.New("bzImage: its header names no kernel release")
	}
	out.release = release
	return out, nil
}

// IsRelease reports whether s can be the output of `uname -r`, and is safe as the name of a
// directory.
func IsRelease(s string) bool {
	if _, ok := kversion.Parse(s); !ok || len(s) > 64 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("._+~-", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// unpackBzImage writes the ELF file in a bzImage to w. If the format of the compression is unknown,
// the error is [archive.ErrCompression].
func unpackBzImage(r io.ReaderAt, h *BzHeader, w io.Writer) error {
	if h.size < 8 {
		return errors.New("bzImage: it has no payload")
	}
	payload := io.NewSectionReader(r, h.payload, h.size)
	head := make([]byte, 4)
	if _, err := io.ReadFull(payload, head); err != nil {
		return fmt.Errorf("bzImage: payload: %w", io.ErrUnexpectedEOF)
	}
	plain, want, err := openPayload(r, h, head)
	if err != nil {
		return fmt.Errorf("bzImage: payload: %w", err)
	}
	if want > maxVmlinux {
		return fmt.Errorf("bzImage: payload of %d bytes: more than a kernel can have", want)
	}
	// One byte more than announced shows that the payload is wrong.
	n, err := io.Copy(w, io.LimitReader(plain, want+1))
	if err != nil {
		return fmt.Errorf("bzImage: payload: %w", err)
	}
	if n != want {
		return fmt.Errorf("bzImage: payload does not unpack to the %d bytes that it should", want)
	}
	return nil
}

// openPayload returns a reader for the contents of the payload and their size. The kernel's build
// appends that size to every compressed payload (gzip has it by itself). Decompressors other than
// gzip must not see it.
func openPayload(r io.ReaderAt, h *BzHeader, head []byte) (io.Reader, int64, error) {
	if string(head) == elf.ELFMAG {
		return io.NewSectionReader(r, h.payload, h.size), h.size, nil
	}
	var tail [4]byte
	if _, err := r.ReadAt(tail[:], h.payload+h.size-4); err != nil {
		return nil, 0, io.ErrUnexpectedEOF
	}
	size := h.size
	if !bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		size -= 4
	}
	plain, err := archive.Decompress(io.NewSectionReader(r, h.payload, size))
	return plain, int64(binary.LittleEndian.Uint32(tail[:])), err
}

// checkPVH returns [ErrNoPVH] if an ELF kernel cannot be started directly.
func checkPVH(r io.ReaderAt) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("vmlinux: %w", err)
	}
	if f.Machine != elf.EM_X86_64 {
		if a, ok := arch.OfMachine(f.Machine); ok {
			return fmt.Errorf("a vmlinux for %s is not booted directly: give its %s", a.Name, filepath.Base(a.Image))
		}
		return fmt.Errorf("vmlinux is for %s: guests are for %s", f.Machine, strings.Join(arch.Names(), ", "))
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		notes, err := io.ReadAll(p.Open())
		if err != nil {
			return fmt.Errorf("vmlinux: notes: %w", err)
		}
		if hasNote(f.ByteOrder, notes, pvhNoteOwner, pvhNoteType) {
			return nil
		}
	}
	return ErrNoPVH
}

// hasNote looks for one ELF note.
func hasNote(order binary.ByteOrder, notes []byte, owner string, kind uint32) bool {
	for len(notes) >= 12 {
		nameSize, descSize := uint64(order.Uint32(notes)), uint64(order.Uint32(notes[4:]))
		nameEnd := 12 + nameSize
		next := 12 + (nameSize+3)&^3 + (descSize+3)&^3
		if nameEnd > uint64(len(notes)) || next > uint64(len(notes)) {
			return false
		}
		name := strings.TrimRight(string(notes[12:nameEnd]), "\x00")
		if name == owner && order.Uint32(notes[8:]) == kind {
			return true
		}
		notes = notes[next:]
	}
	return false
}

const banner = "Linux version "

// elfRelease finds the release in the banner of a kernel that is not compressed.
func elfRelease(r io.Reader) (string, error) {
	const window = 1 << 20
	buf := make([]byte, 0, window+128)
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+window-len(buf)])
		buf = buf[:len(buf)+n]
		for rest := buf; ; {
			i := bytes.Index(rest, []byte(banner))
			if i < 0 {
				break
			}
			rest = rest[i+len(banner):]
			release, _, ok := strings.Cut(string(rest[:min(len(rest), 80)]), " ")
			if ok && IsRelease(release) {
				return release, nil
			}
		}
		if err != nil {
			return "", errors.New("no kernel version in the image")
		}
		// Keep the end: the banner may lie across two reads.
		keep := min(len(buf), 128)
		copy(buf, buf[len(buf)-keep:])
		buf = buf[:keep]
	}
}

// Info describes a kernel image.
type Info struct {
	Arch, Release string
	// bz is the header of a bzImage, nil for other images, which are booted as they are.
	Bz *BzHeader
}

// Read identifies a kernel image, or returns [errNotImage]. It tries bzImage first, because a
// bzImage may have any bytes where an Image has its magic number.
func Read(r interface {
	io.ReaderAt
	io.Reader
}) (*Info, error) {
	h, err := readBzHeader(r)
	if err == nil {
		return &Info{Arch: arch.BzImage, Release: h.release, Bz: h}, nil
	}
	if !errors.Is(err, errNotBzImage) {
		return nil, err
	}
	info := &Info{Arch: arch.BzImage}
	if isELF(r) {
		if err := checkPVH(r); err != nil {
			return nil, err
		}
	} else {
		a, ok := arch.OfImage(r)
		if !ok {
			return nil, errNotImage
		}
		info.Arch = a.Name
	}
	info.Release, err = elfRelease(r)
	return info, err
}

// Is reports whether a file is a kernel image, as far as its beginning says.
func Is(r io.ReaderAt) (bool, error) {
	if _, raw := arch.OfImage(r); raw || isELF(r) {
		return true, nil
	}
	_, err := readBzHeader(r)
	if errors.Is(err, errNotBzImage) {
		return false, nil
	}
	return err == nil, err
}

// isELF reports whether a file begins like an ELF file.
func isELF(r io.ReaderAt) bool {
	var magic [4]byte
	_, err := r.ReadAt(magic[:], 0)
	return err == nil && string(magic[:]) == elf.ELFMAG
}

// WriteVmlinux unpacks the bzImage src into dst and checks that it can be started directly. With
// [archive.ErrCompression] or [ErrNoPVH] the bzImage is good, but must be booted as it is.
func WriteVmlinux(src io.ReaderAt, h *BzHeader, dst string) error {
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := unpackBzImage(src, h, out); err != nil {
		return err
	}
	if err := checkPVH(out); err != nil {
		return err
	}
	return out.Close()
}
