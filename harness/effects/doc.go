// Package effects compares what the programs of two loads did. Package exercise makes the programs
// run and records the effects.
//
// A [Sample] holds the effects of one load by name:
//
//   - "program x attached": whether the program could be attached.
//   - "program x ran": how often it ran while it was attached (the kernel counts since 5.1), or
//     only that it ran if not only the trigger makes it run.
//   - "program x trigger": results of the trigger that differ from the usual, such as an open that
//     fails or a packet that does not arrive.
//   - "map x contents after trigger": the 8-byte words that have changed.
//
// # Noise
//
// A program on a tracepoint sees the whole machine: timers, the garbage collector of this process,
// kernel threads. Its counters differ between two loads by the same engine. Such noise must not
// count as a difference between engines. Nor may the comparison ignore everything that such a
// program touches.
//
// So there is no list of noisy effects, and nothing is left out in advance. If two engines
// disagree, all engines load the object again and repeat everything, up to [Rounds] times. Two
// engines agree on an effect if both showed the same value in some sample. They also agree if the
// effect varies between the samples of one engine: then it is noise. But if every sample of one
// engine has the effect and none of the other has it, the engines differ even then ([Compare]). A
// counter that is 812 for one engine and 840 for the other is noise. A counter that stays 0 belongs
// to a program that did not run.
//
// Only cases with noise pay for repetitions. The drawback is that a loader which makes an effect
// vary goes unnoticed by that effect. The alternative is to load twice with the first engine and to
// mask what differs. That costs another load for every case, and reports noise that happens to
// agree twice as a difference.
package effects
