// Package toolbox is a box of commands in one program, which runs as the one
// whose name it was called by: what a guest has for a person. They are u-root's,
// with no process and no file needed but this program, and a shell, sh, which is
// mvdan.cc/sh, that of u-root's gosh, with a line editor where it has a terminal.
//
// Other commands that people are used to (grep, dmesg, strace) come from the machine
// that starts the guest, with their libraries: see package guestexec.
package toolbox
