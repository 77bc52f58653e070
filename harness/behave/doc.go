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
//
// # Effects
//
// A [Sample] is what one load did: effects by name. "program x attached" is whether
// it could be attached, "program x ran" how often it ran while it was, or only that it
// did if others than the trigger make it run (the kernel counts since 5.1), "program x trigger" what the trigger met that it does
// not meet otherwise: an open that fails, a packet that does not arrive. Of maps,
// the 8-byte words are recorded that differ from those before.
//
// # Noise
//
// A program at a tracepoint sees the whole machine: timers, the garbage collector
// of this process, a kernel thread. What it counts differs between two loads by
// the same engine, and must not pass for a difference between engines; what must
// not happen either is that everything which such a program touches is forgotten.
//
// So nothing is left out beforehand, and there is no list of noisy effects. Where two
// engines disagree, both load the object again, up to [Rounds] times, and do it
// all again. Two engines agree on an effect if both showed one value of it, or if
// it varies between the samples of one engine, which is then noise; but if it is
// there in each sample of one engine and in none of the other, they differ,
// noise or not ([Compare]). A counter that is 812 here and 840 there is noise, and
// one that stays 0 is a program that did not run.
//
// The cost is paid by cases with noise only. The price is that a loader which makes
// an effect vary by itself is not noticed by that effect. The other way, to look for
// noise in two loads by the first engine and to mask what differs, costs a load for
// each case, and takes for a difference what happens to agree twice.
package behave
