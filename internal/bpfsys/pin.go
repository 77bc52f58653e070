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

// Get opens the object that is pinned at a path. The caller owns the fd. The error is ENOENT if
// there is none.
func Get(path string) (int, error) {
	var m Memory
	defer m.Release()
	return Call(ObjGet, &ObjAttr{Path: m.String(path)})
}

// MapMemory maps size bytes of the map fd, at addr unless that is 0. [UnmapMemory] unmaps them.
func MapMemory(fd, size int, addr uintptr) ([]byte, error) {
	flags := unix.MAP_SHARED
	if addr != 0 {
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	// The address is for the kernel only. vet cannot know that Go does not dereference it.
	at := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	p, err := unix.MmapPtr(fd, 0, at, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// UnmapMemory unmaps memory of MapMemory.
func UnmapMemory(memory []byte) {
	if len(memory) > 0 {
		_ = unix.MunmapPtr(unsafe.Pointer(&memory[0]), uintptr(len(memory)))
	}
}
