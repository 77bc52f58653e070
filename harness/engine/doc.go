// Package engine has the ways to load an object into the kernel behind one small interface, so that
// what each of them leaves in the kernel can be compared. Begin with [Engine], [Load] and [ByName].
// The engines are:
//
//   - direct: cilium/ebpf reads the ELF file and loads it; the independent judge.
//   - trace: our trace, issued from user space.
//   - replay: our loader program, run once.
//   - signed: the same with a signature, which the kernel verifies (6.18).
//   - libbpf: libbpf's direct load.
//   - libbpf-light: libbpf's own loader program.
//   - skel-go, skel-c: our light skeletons, as gen --go and gen --c write them.
//
// An engine names the capabilities that it needs in addition to what the object needs. It returns
// fds; package state reads the state from them.
//
// # How each engine's objects are found
//
// direct, trace and replay load in this process and return the fds: those of cilium/ebpf's
// collection, or those that our trace and our loader program report. Some maps have no such fd,
// like cilium/ebpf's .kconfig maps. Package state finds them through the programs that use them.
//
// signed creates a key and a certificate in the process that loads, which runs in a guest. With
// them it signs what gen writes, for all contracts, and adds the certificate to a keyring of its
// own. It refuses with [ErrCannot] an object that has parts which the signature would not cover
// (loader/sign.Check).
//
// The libbpf engines run a bpftool ([Tool]): Debian's, or one that is under test.
//
// libbpf runs `bpftool prog loadall OBJECT DIR/programs pinmaps DIR/maps`. bpftool exits when it
// has loaded the object, and the pins keep all maps and programs alive. The engine opens the pins
// and removes them at once, so that only fds are left, as with the other engines. Pins have
// libbpf's names, with underscores instead of dots. The engine reads the object with our reader to
// translate them to logical names. If the object itself pins maps by name, all its maps are pinned
// in libbpf's default directory, because libbpf accepts no other one. If the object has programs
// that are only loaded on request ("?xdp"), bpftool gets a copy in which their sections are not
// executable. Otherwise it would fail to pin programs that libbpf did not load.
//
// libbpf-light runs `bpftool gen skeleton -L OBJECT`, which prints a C header that contains the
// loader program, and then runs that program. From libbpf come the instructions and the blob, byte
// for byte, the layout of the context, its initial values, and the names in their order. The
// runtime (runLight) is ours. It creates the blob's map, loads the instructions, runs them once,
// and reads the fds from the context. There are two reasons not to use libbpf's runtime: `bpftool
// prog load -L` closes what it has loaded, and skel_internal.h of libbpf 1.7 and 1.8 asks the
// kernel for a map's hash, which only kernels since 6.18 support. Our runtime omits steps that no
// comparison can see: freezing the blob's map, and mapping the values of data sections. What the
// skeleton has no member for (the slots of a program array, a struct_ops link) does not exist here
// either. A loader program that fails returns only an errno; the engine then runs it again with a
// log.
//
// bpftool generates in the guest, so that libbpf asks the kernel that will run the program for its
// configuration, its version and the number of its CPUs. The time for that belongs to Open, not to
// Do. For libbpf the time of Do is that of a whole run of bpftool: start, read the object, load,
// pin.
//
// skel-go and skel-c run a program that the host has built ([skelprog.Build]). It contains the
// skeletons of all objects of the run. Its main function opens and loads the skeleton that it is
// asked for, sends the fds, closes the skeleton and exits. A failed step is identified from the
// skeleton's message. The time of Do is that of the whole process.
//
// If bpftool refuses an object or crashes on it (SIGSEGV for struct_ops up to libbpf 1.8, SIGBUS
// for an arena with data), the engine refuses the object: [ToolError]. If bpftool does not start or
// does not end, the error is [ErrEngine] and says nothing about the object.
package engine
