// Package guest starts guests whose agent answers: machines of package vm with a kernel,
// an initramfs and the agent in it.
//
// Guests are copies of one that was booted, made ready and saved, by this process or by one
// before it, in the cache of package vmimage: see [Source]. What a saved guest depends on is
// in its name: QEMU, the machine, the kernel, the initramfs, this boot of the host. What all
// guests of a process take of the host together is bounded by a [Budget].
//
// Nothing that comes from a guest is trusted: messages and the console are bounded, answers
// checked.
package guest
