package suites

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// btfMagic begins the types in a little-endian kernel: magic number, version and flags of struct
// btf_header (include/uapi/linux/btf.h).
var btfMagic = []byte{0x9f, 0xeb, 1, 0}

// openTypes opens a file with the kernel's types, which the caller closes: the kernel if that is an
// ELF file, or else a temporary file with the BTF that is in its Image.
func openTypes(k *vmimage.Kernel) (*os.File, error) {
	if k.Arch == arch.BzImage {
		return os.Open(k.BootPath)
	}
	data, err := os.ReadFile(k.BootPath)
	if err != nil {
		return nil, err
	}
	types := findBTF(data)
	if types == nil {
		return nil, fmt.Errorf("kernel %s has no types: CONFIG_DEBUG_INFO_BTF", k.Name)
	}
	f, err := os.CreateTemp("", "bpfreplay-types-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name())
	if _, err = f.Write(types); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// findBTF returns the largest BTF in data, nil if there is none. The kernel's own is larger than what
// else may look like it.
func findBTF(data []byte) (largest []byte) {
	const header = 24 // hdr_len, type_off, type_len, str_off, str_len behind the magic number
	for at := 0; ; at++ {
		i := bytes.Index(data[at:], btfMagic)
		if i < 0 || len(data)-at-i < header {
			return largest
		}
		at += i
		var h [5]uint64
		for i := range h {
			h[i] = uint64(binary.LittleEndian.Uint32(data[at+4+4*i:]))
		}
		length, typeOff, typeLen, strOff, strLen := h[0], h[1], h[2], h[3], h[4]
		end := length + strOff + strLen
		if length < header || typeOff != 0 || strOff < typeLen || strLen == 0 || end > uint64(len(data)-at) {
			continue
		}
		// Strings begin with the empty one, and the last one ends.
		strings := data[at:][length+strOff : end]
		if strings[0] == 0 && strings[strLen-1] == 0 && end > uint64(len(largest)) {
			largest = data[at:][:end]
		}
	}
}
