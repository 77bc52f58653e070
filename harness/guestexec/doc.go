// Package guestexec runs a program of this machine in a guest, on another kernel: [Exec] one
// command, [Shell] a prompt, which has the objects of cases loaded and pinned. [OpenDebugger]
// has a guest wait for gdb.
//
// The program comes with its shared libraries and the files that it needs, at the same paths;
// or it has this machine's whole root, read-only over virtiofs, below what it writes.
package guestexec
