package vm

import (
	"bytes"
	"fmt"
	"io"
)

// maxSaid bounds what Console returns, in bytes.
const maxSaid = 1 << 20

// Console returns the guest's output from offset from, in bytes, and the offset for the next call.
// If there is more than 1 MiB it omits the middle. It works until Close, whether the guest is alive
// or not, and omits what cannot be read.
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

// Complaints returns the splats in a piece of the console.
func Complaints(text []byte) []Splat {
	var t transcript
	t.write(text)
	if len(t.partial) > 0 {
		t.endLine()
	}
	return t.splats
}
