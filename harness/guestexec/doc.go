// Package guestexec runs programs of this machine in a guest, on another kernel. [Exec] runs one
// command. [Shell] opens a prompt, with the objects of cases loaded and pinned. [OpenDebugger]
// prepares a guest that waits for gdb.
//
// The guest gets the program with its shared libraries and the files it needs, at the same paths as
// on this machine. Or it gets this machine's whole root directory over virtiofs, read-only, under
// an overlay in memory that takes what the program writes.
//
// Begin with [Command] and session.run.
package guestexec
