// Package agent is what runs as PID 1 in a guest and answers the messages of
// package wire. An agent that cannot go on ends,
// which panics the guest's kernel: the host sees that, with the reason on the
// console.
//
// For each request the agent runs the engines one after the other in the same
// process: load, read the state, run, read what the runs changed, close. At
// the end it waits until the kernel has freed what the engines made, and
// reports what it did not free.
//
// Between its Hello and the first case a guest may be saved, and restored many
// times: Ready has the agent do before what all cases need, Wake puts right
// afterwards what must not be the same in all copies of the guest, and the clock.
//
// A line in the kernel's log marks where a case begins, and another where it ends.
// For tests of the host a request may name a fault, a way for the guest to go
// wrong.
//
// A request may also be for a program of the user's, a Command. What it writes
// comes back as it writes it, one Output after another; the last says how it
// ended. Meanwhile the host may send Input, as much ahead as Window says, so that a
// program that reads nothing keeps neither side from hearing the other; its last one,
// after that end, gives the port back to requests. A terminal is a pseudo-terminal
// of the guest's. All this travels in messages over the one port, which has one
// opener: ports of their own for a program's output have lost wake-ups.
package agent
