// Package effects compares what programs did that loads left in the kernel: what package exercise
// has seen of them.
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
package effects
