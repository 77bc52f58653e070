// Package suites gets sets of objects that others wrote, and has them built: what
// the harness loads beside the core suite. It boots no guest and loads nothing.
//
// # The suite "kernel"
//
// The BPF selftests of Linux, tools/testing/selftests/bpf/progs, of a Debian
// package linux-source-VERSION, which is checked as kernels are (package vmimage),
// or of a kernel tree. [FetchKernel] builds libbpf and bpftool of that source,
// makes a vmlinux.h of a kernel's BTF, and compiles every program with a pinned
// clang. All of it is kept in vmimage's cache, below "suites":
//
//	source/DIGEST     what is needed of the package
//	tools/DIGEST      bpftool, and libbpf's headers and library
//	types/DIGEST      vmlinux.h
//	objects/DIGEST    one object, or why it does not compile
//	parts/DIGEST      objects of a package or module (suite "wild")
//	kernel.json       the [Corpus]: which of these were made last; also wild.json
//
// A digest is of everything that the thing is made from, so what is there is not
// made again, however a run ended. An object's is that of its source, of all
// headers that it could include, of the flags and of the compiler: a change to one
// program compiles one, a change to a header compiles all.
//
// A source that does not compile is no error. The corpus has the reason, and what is compared
// later counts it.
//
// # Test modules
//
// [BuildModules] builds the modules that the selftests come with, bpf_testmod and its
// kin, for a kernel of Debian's: the headers package of exactly that kernel and all
// that it depends on, with the compiler that the kernel was built with, are unpacked
// into a directory, which becomes the root of make(1) there. Nothing of this machine
// but the running kernel takes part, and none of the packages' scripts is run. The
// sources are those of the package that the kernel was built from, as a module has
// to fit its kernel; where the archive has it no longer, the suite's own. A kernel
// tree builds them itself, with this machine's tools.
//
//	roots/DIGEST         the directory; removed by `kernels prune`
//	modulesource/DIGEST  sources of modules of a package
//	modules/DIGEST       one module, or why it does not build
//	modules.json         what there is for which kernel
//
// [Corpus.ModuleNames] are the names that a kernel has with these modules, from the
// text of their sources: a case whose object cannot do without one has a probe that
// looks for it, in the kernel as well, where some of them were in former releases.
//
// # The suite "wild"
//
// Objects that people ship: the files of the Go module cilium/ebpf at the version
// that this program is built with, which the go command fetches and checks, and
// those of a list of Debian's packages (wildlist.go). Contents tell what is an
// object, whatever its name. Programs hold objects too, as skeletons of libbpf or
// by go:embed, both of which store the ELF file as it is; these are taken out. Objects
// that are compressed there, or written as instructions, are not found. What is the
// same in several places is there once. [FetchWild] remembers the version that
// it has seen of each package until it is told to look for newer ones, and which it has
// not found.
package suites
