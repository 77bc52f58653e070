package enginename

import "slices"

// Names of engines.
const (
	Direct      = "direct"       // cilium/ebpf
	Trace       = "trace"        // our trace, issued from user space
	Replay      = "replay"       // our loader program
	Signed      = "signed"       // the same, signed and verified by the kernel
	Libbpf      = "libbpf"       // libbpf's direct load
	LibbpfLight = "libbpf-light" // libbpf's loader program
	SkelGo      = "skel-go"      // our light skeleton in Go
	SkelC       = "skel-c"       // our light skeleton in C
)

// IsCilium reports whether an engine is cilium/ebpf.
func IsCilium(engine string) bool { return engine == Direct }

// IsLibbpf reports whether an engine is libbpf, by direct load or by loader program.
func IsLibbpf(engine string) bool { return engine == Libbpf || engine == LibbpfLight }

// Ours reports whether an engine runs our trace: trace, replay, signed, or a skeleton. No rule
// explains a difference between two of these.
func Ours(engine string) bool { return !IsCilium(engine) && !IsLibbpf(engine) }

// Strict reports whether two engines must agree without any rule, except rules for a version of the
// kernel or of libbpf.
func Strict(a, b string) bool { return !IsCilium(a) && !IsCilium(b) && (Ours(a) || Ours(b)) }

// Names returns the names of all engines.
func Names() []string {
	return []string{Direct, Trace, Replay, Signed, Libbpf, LibbpfLight, SkelGo, SkelC}
}

// Defaults returns the names of the engines that need no other programs, in the order in which they
// run.
func Defaults() []string { return Names()[:3] }

// UseTool reports whether one of the engines needs bpftool.
func UseTool(names []string) bool {
	return slices.ContainsFunc(names, IsLibbpf)
}

// CiliumCode and LibbpfCode are the beginnings of version strings: see engine.Version.
const (
	CiliumCode = "cilium/ebpf"
	LibbpfCode = "libbpf"
)

// GuestTool is the directory of bpftool in a guest. Its subdirectory bin has the programs and lib
// the libraries, as initramfs.Programs lays them out.
const GuestTool = "/bpftool"

// GuestSkeletons is the directory in a guest with the programs that engines skel-go and skel-c run.
const GuestSkeletons = "/skeletons"

// Skeletons returns those of the engines that run a program with skeletons. That program must be
// built for the objects of the run: see package skelprog.
func Skeletons(names []string) (out []string) {
	for _, n := range names {
		if n == SkelGo || n == SkelC {
			out = append(out, n)
		}
	}
	return out
}
