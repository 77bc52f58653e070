// Package emit turns a trace into a loader program: the instructions of a
// BPF_PROG_TYPE_SYSCALL program and the value of its one map, the blob.
//
// # The blob
//
// Everything that a command needs in memory lies in the blob, and the loader
// addresses it directly (ld_imm64 with BPF_PSEUDO_MAP_IDX_VALUE, index 0 of
// fd_array):
//
//	0          u32: the step that failed, as an index into the trace's commands;
//	           without Steps the license of the programs in its place
//	…          u32 × n: one cell an FD of the trace: the fd, once it is open.
//	           before, 0xffffffff. The cells serve as fd_array of the programs
//	           that are loaded. Without Steps most of them are not written to.
//	…          attributes (union bpf_attr), each as long as its last used field
//	…          names, keys, tables of instructions to patch
//	…          instructions, func_info, line_info, CO-RE records of each program
//	…          BTF, and the initial values of data maps
//
// # The code
//
// Each command is a short straight piece of code: put pointers and fds into
// the attribute, and call the helper bpf_sys_bpf. An fd or a type id is put
// into all instructions that refer to it right after it is known, by a store
// each, or, from tableSites references on, by one loop over a table, so that
// the code does not grow with call sites.
//
// What a failure leads to is the dearest part for the verifier, so there are
// two kinds of loader programs. With Steps each command is followed by a test:
// on failure the step is noted, and the code at the end closes all that is
// open. The test jumps on success and falls through to the error, which the
// verifier follows to the end at once: however long the trace, no more than a
// handful of branches are pending in it.
//
// Without Steps there is no test. What comes after a failure gets a negative
// number for an fd, which the kernel refuses, or is done for nothing. The
// results of all commands are or-ed, so the loader program returns a number
// below 0 if one of them was, and each map and program is handed out when it
// is made: whoever runs the loader program closes them then, and runs one with
// Steps if they want to know more. Temporary fds are closed as ever, since the
// code always comes to its end.
//
// Maps are referred to by fd, patched into ld_imm64 at run time, as direct
// loads do, so program tags agree with theirs. fd_array serves module kfuncs only.
//
// # Context
//
// The context is that of libbpf's skel_internal.h (libbpf 0.8 and later): a
// header of 24 bytes (sz, flags, log_level, log_size, log_buf), 16 bytes a map
// (fd, max_entries, initial_value), 4 bytes a program (fd). What libbpf's
// loader programs take from it, ours take only with Options.Inputs; the fds are
// always handed out there, with Steps if all steps succeed. A program that is not
// loaded has 0xffffffff for its fd, or without Steps what was there before.
package emit
