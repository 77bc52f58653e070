// Package behave makes programs work that a load has left in the kernel, and
// says what came of it, so that two loads can be compared by what they do and not
// only by what they are.
//
// The plan follows from the object alone ([PlanOf]), so that it is the same
// for every engine, and needs no word in a suite:
//
//   - programs of types that BPF_PROG_TEST_RUN takes are run with a few fixed
//     packets or contexts, where the suite has no input of its own;
//   - programs that attach are attached, one at a time: to the tracepoint,
//     function or hook that their section names, to the loopback device, to a
//     cgroup that this process is in, to a socket. A fixed list of system calls
//     is then made, the trigger, and the program is detached again. Iterators are
//     read instead;
//   - struct_ops maps with a link are registered, and the trigger is pulled.
//
// A refusal by the kernel is recorded as well: its errno is an effect like any
// other. See attach.go for what is not attached, and why.
// What comes of it are effects: see package effects.
package exercise
