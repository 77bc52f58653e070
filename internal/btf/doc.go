// Package btf reads BPF Type Format blobs without changing them.
//
// A [Spec] is a view on the raw bytes: parsing walks the type section once and
// remembers where each type starts, nothing more. Types are decoded when they
// are asked for, names are looked up in an index that is built when it is first
// needed. That keeps the 5 to 6 MB of a kernel's BTF cheap to open, and it keeps
// the bytes of an object's BTF exactly as the compiler wrote them: CO-RE
// records, func_info and line_info refer to type ids and string offsets of that
// blob, so neither may ever move.
//
// What a loader has to change before the kernel accepts an object's BTF (sizes
// of data sections, linkage of externs and hidden functions, kinds that an old
// kernel does not know) is patched in place: see [Spec.SetLinkage] and its
// siblings, and [Spec.Sanitize]. New types and strings are only ever appended.
//
// The format is that of include/uapi/linux/btf.h. Only little-endian blobs are
// read; every reader is bounds-checked and refuses a malformed blob with an
// error that wraps [ErrMalformed].
//
// A Spec is safe for concurrent readers. The patching methods are for its owner
// and must not run beside readers.
package btf
