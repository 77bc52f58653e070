package bpfsys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pin pins fd at a path of a BPF file system.
func Pin(fd int, path string) error {
	var m Memory
	defer m.Release()
	_, err := Call(ObjPin, &ObjAttr{Path: m.String(path), FD: uint32(fd)})
	return err
}

// Get opens what is pinned at a path. The error is ENOENT if there is nothing.
func Get(path string) (int, error) {
	var m Memory
	defer m.Release()
	return Call(ObjGet, &ObjAttr{Path: m.String(path)})
}

// MapMemory maps size bytes of the map fd, at an address if that is not 0.
// UnmapMemory undoes it.
func MapMemory(fd, size int, addr uintptr) ([]byte, error) {
	flags := unix.MAP_SHARED
	if addr != 0 {
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	// An address for the kernel, never one that Go follows: vet cannot know.
	at := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	p, err := unix.MmapPtr(fd, 0, at, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// UnmapMemory unmaps what MapMemory has mapped.
func UnmapMemory(memory []byte) {
	if len(memory) > 0 {
		_ = unix.MunmapPtr(unsafe.Pointer(&memory[0]), uintptr(len(memory)))
	}
}
