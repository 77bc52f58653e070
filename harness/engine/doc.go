// Package engine has the ways to get an object into the kernel behind one
// small interface, so that what each of them leaves there can be compared:
//
//   - direct: cilium/ebpf reads the ELF file and loads it, the independent judge;
//   - trace: our trace, issued from user space;
//   - replay: our loader program, run once;
//   - signed: the same with a signature, which the kernel verifies (6.18);
//   - libbpf: libbpf's direct load;
//   - libbpf-light: libbpf's own loader program;
//   - skel-go, skel-c: our light skeletons, as gen --go and gen --c write them.
//
// An engine names what it needs of a kernel beyond what the object needs. It
// returns fds: how they are read is for package state.
//
// # How each engine's objects are found
//
// direct, trace and replay load in this process and have the fds: cilium/ebpf's
// collection, and what our trace and our loader program say they made. Maps that
// no fd is returned for, like cilium/ebpf's .kconfig maps, are found by package
// state, through the programs that hold them.
//
// signed makes a key and a certificate in the process that loads, a guest's, signs with
// them what gen writes, for all contracts, and puts the certificate into a keyring of
// its own. What a signature would not cover (loader/sign.Check) it cannot load:
// [ErrCannot].
//
// The engines of libbpf drive a bpftool ([Tool]): Debian's, or one that its
// author wants to see judged.
//
// libbpf is one `bpftool prog loadall OBJECT DIR/programs pinmaps DIR/maps`.
// bpftool ends when it has loaded, and the pins keep what it made: all maps and
// all programs. They are opened and removed again at once, so that fds are all
// that is left, as with the other engines. Pins bear libbpf's names, with
// underscores for dots: the object, read with our reader, tells which logical
// name is meant. An object that wants maps pinned by name gets all of them pinned
// where libbpf pins those, for nowhere else will it have them. Of an object with
// programs that are loaded only if they are asked for ("?xdp"), bpftool gets a
// copy in which their sections are not executable: it would fail to pin what
// libbpf did not load.
//
// libbpf-light is `bpftool gen skeleton -L OBJECT`, which prints a C header with
// the loader program, and then the program is run. What is libbpf's: the
// instructions and the blob, byte for byte, the layout of the context, the
// initial values in it, and the names in their order. What is ours: the runtime
// around it (loader.Raw), which libbpf has in skel_internal.h, to be compiled
// into a program. It makes the blob's map, loads the instructions, runs them
// once and reads the fds out of the context. It is ours because `bpftool prog
// load -L`, which does the same, closes what it has loaded, and because the
// runtime of libbpf 1.7 and 1.8 asks the kernel for the hash of a map, which only
// those since 6.18 know. It leaves out what nothing that is compared can show:
// freezing the blob's map, and mapping the values of data sections. Where there
// is no member for what the object has (a program array's slots, a struct_ops
// link), nor is there one here. A loader program that fails returns an errno and
// no more; it is then run once more with a log.
//
// bpftool generates in the guest: what libbpf asks the machine meanwhile (its
// configuration and version, the number of its CPUs) is then asked of the kernel
// that will run the program. The time that this takes is part of Open and not of
// Do. For libbpf the time of Do is that of a whole run of bpftool: starting it,
// reading the object, loading and pinning.
//
// skel-go and skel-c run a program that the host has built ([skelprog.Build]): skeletons of
// all objects of the run, and a main function around them that opens and loads the one that
// it is asked for, hands the fds over, closes the skeleton and ends. A step that failed is
// named from what the skeleton says of it. The time of Do is that of the whole process.
//
// A bpftool that says no, or that dies of an object (SIGSEGV for struct_ops up
// to libbpf 1.8, SIGBUS for an arena with data), refuses the object: [ToolError].
// One that cannot be started, or does not end, is trouble ([ErrTrouble]) and
// tells nothing of the object.
package engine
