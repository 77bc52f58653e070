// Package toolbox is a multi-call program with the commands of a guest's shell. The name by which
// it was called selects the command. The commands are u-root's and run within this one program and
// file. The shell, sh, is mvdan.cc/sh as in u-root's gosh, with a line editor on a terminal.
//
// Other usual commands (grep, dmesg, strace) come from the machine that starts the guest, with
// their libraries: see package guestexec.
package toolbox
