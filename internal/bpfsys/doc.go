// Package bpfsys is a thin layer over bpf(2): the commands, the layouts of
// their attributes, and the raw info structs.
//
// It exists because two things that bpfreplay needs are closed to users of
// github.com/cilium/ebpf: attributes of any length (a kernel refuses a
// non-zero byte that it does not know, so an attribute must end with its last
// used field), and the info structs whole (bpf_map_info, bpf_prog_info and
// bpf_btf_info as the kernel fills them, by field and with the length that
// this kernel knows).
//
// Offsets and sizes are those of include/uapi/linux/bpf.h, whose fields never
// move; a newer kernel only appends.
package bpfsys
