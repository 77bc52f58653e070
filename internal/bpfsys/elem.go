package bpfsys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errNotSupp is ENOTSUPP, an internal errno that user space sees if a map type lacks an operation.
// It is not EOPNOTSUPP.
const errNotSupp = unix.Errno(524)

// IsNotSupported reports whether err means that a map type lacks an operation or a kernel lacks a
// command.
func IsNotSupported(err error) bool {
	return errors.Is(err, errNotSupp) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}

// LookupElem reads the value of key in the map fd into value. The length of value must be what the
// kernel writes: value_size, or for per-CPU maps value_size rounded up to a multiple of 8, times
// the number of possible CPUs, or 4 for maps of maps and programs. A nil key peeks at the head of a
// queue or stack. The error wraps ENOENT if there is no such element.
func LookupElem(fd int, key, value []byte) error {
	var m Memory
	defer m.Release()
	if _, err := Call(MapLookupElem, &ElemAttr{MapFD: uint32(fd), Key: m.At(key), Value: m.At(value)}); err != nil {
		return fmt.Errorf("%s: %w", MapLookupElem, err)
	}
	return nil
}

// NextKey stores the key after key in next, or the first one if key is nil. It returns false at the
// end.
func NextKey(fd int, key, next []byte) (bool, error) {
	var m Memory
	defer m.Release()
	_, err := Call(MapGetNextKey, &ElemAttr{MapFD: uint32(fd), Key: m.At(key), Value: m.At(next)})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", MapGetNextKey, err)
	}
	return true, nil
}

// LookupBatch reads up to count elements of the map fd. in is the cursor to start from, nil for the
// start; the kernel stores the next cursor in out. Both take max(key size, 4) bytes. LookupBatch
// returns the number of elements, and whether it reached the map's end. ENOSPC: count is too small
// for one bucket of a hash map.
func LookupBatch(fd int, in, out, keys, values []byte, count uint32) (uint32, bool, error) {
	var m Memory
	defer m.Release()
	a := BatchAttr{In: m.At(in), Out: m.At(out), Keys: m.At(keys), Values: m.At(values), Count: count, MapFD: uint32(fd)}
	_, err := Call(MapLookupBatch, &a)
	if errors.Is(err, unix.ENOENT) {
		return a.Count, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", MapLookupBatch, err)
	}
	return a.Count, false, nil
}
