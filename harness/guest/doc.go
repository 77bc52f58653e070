// Package guest starts guests: virtual machines of package vm that run a kernel, an initramfs and
// the agent, and whose agent answers.
//
// Begin with [Source]. It boots one guest, waits until the agent is ready, saves the guest in the
// cache of package vmimage, and from then on restores copies of it. The key of a saved guest covers
// everything that it depends on: QEMU, the machine, the kernel, the initramfs, and this boot of the
// host. [Machine.Ask] sends a request to the agent and collects what the kernel prints meanwhile.
// [Budget] limits what all guests of a process use of the host.
//
// Guests are not trusted: messages and the console have bounded lengths, and answers are checked.
package guest
