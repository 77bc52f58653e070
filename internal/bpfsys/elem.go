package bpfsys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// MapLookupBatch is the command that reads many elements at once (5.6; each
// map type learnt it at its own time).
const MapLookupBatch Cmd = 24

// errNotSupp is ENOTSUPP, which the kernel lets slip to user space where a map
// type lacks an operation. It is not EOPNOTSUPP.
const errNotSupp = unix.Errno(524)

// IsNotSupported reports whether err says that a map type lacks an operation
// or a kernel lacks a command.
func IsNotSupported(err error) bool {
	return errors.Is(err, errNotSupp) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}

// LookupElem reads the value of key in the map fd into value, whose length must
// be what the kernel writes: value_size, or for per-CPU maps value_size rounded
// up to 8 times the number of possible CPUs, or 4 for maps of maps and
// programs. A nil key peeks at the head of a queue or stack. The error wraps
// ENOENT if there is no such element.
func LookupElem(fd int, key, value []byte) error {
	a := NewAttr(32)
	a.U32(0, uint32(fd))
	a.Ptr(8, key)
	a.Ptr(16, value)
	if _, err := a.Call(MapLookupElem); err != nil {
		return fmt.Errorf("%s: %w", MapLookupElem, err)
	}
	return nil
}

// NextKey stores the key after key in next, the first one if key is nil. It
// returns false at the end.
func NextKey(fd int, key, next []byte) (bool, error) {
	a := NewAttr(24)
	a.U32(0, uint32(fd))
	a.Ptr(8, key)
	a.Ptr(16, next)
	_, err := a.Call(MapGetNextKey)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", MapGetNextKey, err)
	}
	return true, nil
}

// LookupBatch reads up to count elements of the map fd from where in points to
// (nil: the start), and stores where to go on in out. Both cursors take
// max(key size, 4) bytes. It returns how many elements it read and whether the
// map's end was reached. ENOSPC: count is too small for one bucket of a hash map.
func LookupBatch(fd int, in, out, keys, values []byte, count uint32) (uint32, bool, error) {
	a := NewAttr(56)
	a.Ptr(0, in)
	a.Ptr(8, out)
	a.Ptr(16, keys)
	a.Ptr(24, values)
	a.U32(32, count)
	a.U32(36, uint32(fd))
	_, err := a.Call(MapLookupBatch)
	if errors.Is(err, unix.ENOENT) {
		return a.Get32(32), true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("MAP_LOOKUP_BATCH: %w", err)
	}
	return a.Get32(32), false, nil
}
