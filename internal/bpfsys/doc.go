// Package bpfsys is a thin layer over bpf(2): the commands, the layouts of their attributes, and
// the raw info structs.
//
// It exists because github.com/cilium/ebpf does not export two things that bpfreplay needs. One is
// attributes of any length: a kernel refuses a non-zero byte that it does not know, so an attribute
// must end with its last used field. The other is complete info structs: bpf_map_info,
// bpf_prog_info and bpf_btf_info as the kernel fills them, with the length that this kernel knows.
//
// Offsets and sizes are those of include/uapi/linux/bpf.h. Fields never move; newer kernels only
// append.
package bpfsys
