// Package exercise runs the programs that a load has left in the kernel, and records the effects.
// Two loads can then be compared by what they do, not only by what they are.
//
// Begin with [PlanOf] and [Sandbox.Run]. The plan depends only on the object. So it is the same for
// every engine, and needs no entry in a suite:
//
//   - Programs of types that BPF_PROG_TEST_RUN accepts are run with a few fixed packets or
//     contexts, unless the suite has inputs for them.
//   - Programs that can be attached are attached, one at a time: to the tracepoint, function or
//     hook that their section names, to the loopback device, to a cgroup that this process is in,
//     or to a socket. Then the trigger, a fixed list of system calls, makes them run. Iterators are
//     read instead.
//   - struct_ops maps are registered while the trigger runs.
//
// If the kernel refuses something, the errno is recorded as an effect. See attachable for programs
// that are not attached, and package effects for how effects are compared.
package exercise
