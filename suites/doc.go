// Package suites fetches and compiles objects that others wrote, which the harness loads besides
// the core suite. It boots no guest and loads nothing. [Fetch] is where to begin reading.
//
// # The suite "kernel"
//
// This suite is the BPF selftests of Linux, tools/testing/selftests/bpf/progs, from a Debian
// package linux-source-VERSION, which is checked as kernels are (package vmimage), or from a kernel
// tree. [FetchKernel] builds libbpf and bpftool from that source, makes a vmlinux.h from a kernel's
// BTF, and compiles every program with a pinned clang. The results are in vmimage's cache, below
// "suites":
//
//	source/DIGEST     what is needed of the package
//	tools/DIGEST      bpftool, and libbpf's headers and library
//	types/DIGEST      vmlinux.h
//	objects/DIGEST    one object, or why it does not compile
//	parts/DIGEST      objects of a package or module (suite "wild")
//	kernel.json       the [Corpus]: which of these were made last; also wild.json
//
// DIGEST covers all inputs of the thing, so nothing is made twice, even if a run was interrupted.
// The digest of an object covers its source, all headers that it could include, the flags and the
// compiler: a change to one program recompiles one, a change to a header recompiles all.
//
// A source that does not compile is not an error. The corpus has the reason, and reports count it.
//
// # Test modules
//
// [BuildModules] builds the selftests' modules, such as bpf_testmod, for a kernel. For a Debian
// kernel it unpacks the headers package of exactly that kernel and all that it depends on,
// including the compiler that built the kernel, into a directory, and runs make(1) with that
// directory as its root. It uses nothing of this machine but the running kernel, and runs no script
// of a package. The sources are those of the kernel's own source package, because a module has to
// fit its kernel; if the archive no longer has that package, they are the suite's. A kernel tree
// builds the modules itself, with this machine's tools.
//
//	roots/DIGEST         the directory; removed by `kernels prune`
//	modulesource/DIGEST  sources of modules of a package
//	modules/DIGEST       one module, or why it does not build
//	modules.json         what there is for which kernel
//
// [Corpus.ModuleNames] returns the names that these modules add to a kernel, from the text of their
// sources. A case whose object needs such a name has a probe that looks for it in the modules and
// in the kernel, which had some of them in former releases.
//
// # The suite "wild"
//
// This suite is objects of released software: the files of the Go module cilium/ebpf at the version
// that this program is built with, which the go command fetches and checks, and those of a list of
// Debian packages (wildlist.go). A file is an object if its contents are, whatever its name.
// Objects inside programs are extracted: skeletons of libbpf and go:embed store the ELF file
// unchanged. Objects that are compressed, or stored as instructions, are not found. Identical
// objects are kept once. [FetchWild] remembers the version of each package, and which packages it
// did not find, until it is told to look for newer ones.
package suites
