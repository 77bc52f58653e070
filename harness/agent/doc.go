// Package agent is the program that runs as PID 1 in a guest and answers the messages of package
// wire. If the agent cannot go on, it exits. The guest's kernel then panics, and the host sees
// that, with the reason on the console.
//
// Begin with [Main], which sets the guest up, and [Server.Answer], which runs a request.
//
// For each request the agent runs the engines one after the other in the same process: load, read
// the state, run the programs, read what the runs changed, close. At the end it waits until the
// kernel has freed everything that the engines created, and reports what is left.
//
// A guest may be saved between its Hello and the first case, and restored many times. WarmUp makes
// the agent do the work that all cases need before the guest is saved. Resume sets the clock of a
// restored guest, and reseeds what must differ between copies.
//
// The agent writes a mark to the kernel's log at the beginning and at the end of each case. To test
// the host, a request may name a fault, which makes the guest fail on purpose.
//
// A request may also run a program of the user, a Command. The program's output is sent as it is
// written, one Output after another; the last one has the exit status. Meanwhile the host may send
// Input, ahead by at most Window messages, so that both sides can always be heard even if the
// program reads nothing. The last Input, after the program's end, returns the port to requests. A
// terminal is a pseudo-terminal in the guest. All messages use the one port, which has one opener:
// separate ports for a program's output have lost wake-ups.
package agent
