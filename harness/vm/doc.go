// Package vm starts one QEMU guest, talks to it and ends it.
//
// It knows nothing of BPF, of kernels.yaml or of the agent's protocol. The caller gives it paths.
// It returns a byte stream and, at the end, one [Ending] that says how the guest ended:
//
//	guest, err := vm.Start(ctx, vm.Config{Kernel: "vmlinux", Initrd: "agent.cpio"})
//	if err != nil {
//		return err // no QEMU, no kernel, KVM asked for and unusable, ...
//	}
//	defer guest.Close()
//
//	err = guest.Do(caseCtx, func(port *vm.Port) error {
//		return roundTrip(port, request, &answer)
//	})
//	var ending *vm.Ending
//	if errors.As(err, &ending) {
//		// The guest did not survive the request: ending.Reason, ending.Cause, ending.Console.
//	}
//
// # The machine
//
// The guest is a q35 PC without default devices and without a network (other architectures:
// platform.go). QEMU boots the kernel directly: either a bzImage, or an ELF vmlinux through its PVH
// entry point. The ELF file saves the decompression of the bzImage, a third of the boot under TCG.
// The guest has three connections to the host. All are file descriptors that QEMU inherits, so
// there are no socket paths to collide, to guess or to clean up:
//
//   - a virtio-serial port named [PortName] carries the agent's protocol;
//   - the first serial port is the kernel's console and is written to a file;
//   - QMP, QEMU's own control channel, reports why the machine stopped and injects NMIs.
//
// Each decision about the command line is a type in cmdline.go that implements option. Its comment
// gives the reason.
//
// # The ending
//
// QEMU's exit status proves nothing: it is 0 for a power-off, and 0 for a panic that reboots into
// -no-reboot. The ending is therefore derived from four sources, in this order: what this package
// did itself, QMP's SHUTDOWN event, the console, and the exit status. See [Reason] for the list.
//
// # Saved guests
//
// A booted guest can be saved ([Config.SaveDir], [VM.Save]) and restored ([Restore]) any number of
// times, also several times at once. A restore takes a tenth of the time of a boot: QEMU maps the
// saved memory privately, so pages are read on first use and copied on write, and it reads the
// state of the devices, a third of a megabyte. The result is a [VM] like any other, with the same
// endings, clocks and console. The console begins with the log of the boot.
//
// A saved guest can only be restored with the same QEMU and the same machine. Because the guest has
// calibrated the processor's clock, it also needs the same boot of this host. [Config.SavedKey] is
// a name to store it under. Every failure is a [RestoreError]; the remedy is a boot. Two things
// differ from a boot, and the software in the guest must repair them: the wall clock still shows
// the time of the save, and random numbers repeat.
//
// # The clocks
//
// Three clocks run: boot ([Config.BootTimeout], until the guest's first byte on the port), silence
// ([Config.SilenceTimeout], while a [VM.Do] waits and neither the port nor the console has output)
// and the context of each [VM.Do]. When one of them expires, the guest first gets a non-maskable
// interrupt. The guest's kernel has unknown_nmi_panic set, so it prints a backtrace on the console,
// which ends up in [Ending.Console].
//
// # Clean-up
//
// The package makes no temporary files; a saved guest's directory is the caller's. The QEMU process
// dies with ours, even if ours is killed: it is started with PR_SET_PDEATHSIG, so the host's kernel
// kills it when the thread that started it is gone. That thread is kept for as long as QEMU lives
// (process.go). Closing the QMP connection or the port would not be enough: QEMU runs on without
// them. Cancelling the context and [VM.Close] both kill QEMU's whole process group.
package vm
