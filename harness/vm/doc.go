// Package vm starts, talks to and ends one QEMU guest.
//
// It knows nothing of BPF, of kernels.yaml or of the protocol that the agent
// speaks. It is given paths, and gives back a byte stream and, when all is over,
// one [Ending] that says how the guest came to its end:
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
// The guest is a q35 PC without default devices and without a network. It boots
// the kernel directly: an ELF vmlinux through its PVH entry point, which saves the
// decompression of the bzImage (a third of the boot under TCG), or a bzImage.
// It has three connections to the host, all of them file descriptors that QEMU
// inherits, so that there are no socket paths to collide, to guess or to clean up:
//
//   - a virtio-serial port named [PortName] carries the agent's protocol;
//   - the first serial port is the kernel's console and is written to a file;
//   - QMP, QEMU's own control channel, reports why the machine stopped and injects NMIs.
//
// Each decision about the command line is an option type in cmdline.go whose
// comment gives the reason.
//
// # The ending
//
// QEMU's exit status proves nothing: it is 0 for a power-off, and 0 for a panic that
// reboots into -no-reboot. So an ending is worked out from four witnesses: what this
// package did itself, QMP's SHUTDOWN event, the console, and the exit status last.
// See [Reason] for the list.
//
// # Saved guests
//
// A guest that has booted and is ready can be written down ([Config.SaveDir], [VM.Save]) and started from
// there again ([Restore]), as often as wanted and several at once, in a tenth of the time of a boot: QEMU
// starts with memory that is a private mapping of the saved file, so pages are read when they are used and
// copied when they are written to, and is sent the state of the devices, a third of a megabyte. What results is a
// [VM] as any other: the same endings, clocks and console, which begins with the log of the boot.
//
// A saved guest comes back only with the same QEMU, the same machine and, as the guest has measured
// the processor's clock, the same boot of this host: [Config.SavedKey] is the name to keep it under. Whatever
// fails is a [RestoreError]; the remedy is a boot. Two things are not as after a boot, and are for what runs in
// the guest to mend: the wall clock stands still, and random numbers repeat.
//
// # The clocks
//
// Three clocks run: boot ([Config.BootTimeout], until the guest's first byte on the
// port), silence ([Config.SilenceTimeout], while a [VM.Do] waits and neither port
// nor console says anything) and the context of each [VM.Do]. When one of them
// expires the guest gets a non-maskable interrupt first. The guest's kernel has
// unknown_nmi_panic set, so the backtrace of what it was doing lands on the console,
// and with it in [Ending.Console].
//
// # Nothing stays behind
//
// There are no temporary files to begin with; a saved guest's directory is the caller's. The QEMU process dies with ours, however
// ours dies: it is started with PR_SET_PDEATHSIG, so the host's kernel kills it when
// the thread that started it is gone, and that thread is kept for as long as QEMU
// lives (process.go). Neither a closed QMP connection nor a closed port would do:
// QEMU runs on without them. A context that is cancelled and [VM.Close] kill QEMU's
// whole process group.
package vm
