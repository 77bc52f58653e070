package vm

import (
	"bytes"
	"fmt"
	"io"
)

// maxSaid bounds what Console returns, in bytes.
const maxSaid = 1 << 20

// Console returns what the guest has printed from an offset on, in bytes, and the
// offset of what it prints next. Of very much it leaves out the middle. It works
// until Close, be the guest alive or not; what cannot be read is left out.
func (vm *VM) Console(from int64) (text []byte, next int64) {
	read := func(from, size int64) []byte {
		b, _ := io.ReadAll(io.NewSectionReader(vm.console.file, from, size))
		return b
	}
	info, err := vm.console.file.Stat()
	if err != nil || info.Size() <= from {
		return nil, from
	}
	next = info.Size()
	size := next - from
	if size <= maxSaid {
		return read(from, size), next
	}
	return bytes.Join([][]byte{
		read(from, maxSaid/2),
		fmt.Appendf(nil, "\n(%d bytes left out)\n", size-maxSaid),
		read(next-maxSaid/2, maxSaid/2),
	}, nil), next
}

// Complaints are the splats in a piece of the console.
func Complaints(text []byte) []Splat {
	var t transcript
	t.write(text)
	if len(t.partial) > 0 {
		t.endLine()
	}
	return t.splats
}
