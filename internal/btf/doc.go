// Package btf reads BPF Type Format blobs without changing them. Begin with [Spec] and [Type].
//
// A [Spec] is a view of the raw bytes. Parsing only walks the type section once and records where
// each type starts. Types are decoded on demand, and names are looked up in an index that is built
// when it is first needed. This keeps the 5 to 6 MB of a kernel's BTF cheap to open. It also keeps
// an object's BTF exactly as the compiler wrote it: CO-RE records, func_info and line_info refer to
// its type ids and string offsets, so neither may move.
//
// What a loader has to change before the kernel accepts an object's BTF (sizes of data sections,
// linkage of externs and hidden functions, kinds that an old kernel does not know) is patched in
// place: see [Spec.SetLinkage] and its siblings, and [Spec.Fallbacks]. New types and strings are
// only appended.
//
// The format is that of include/uapi/linux/btf.h. Only little-endian blobs are read. Every read is
// bounds-checked, and a malformed blob gives an error that wraps [ErrMalformed].
//
// A Spec is safe for concurrent readers. Patching methods must not run concurrently with readers.
package btf
