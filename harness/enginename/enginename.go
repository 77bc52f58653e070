package enginename

import "slices"

// Engines.
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

// IsLibbpf reports whether an engine is libbpf, whichever way it loads.
func IsLibbpf(engine string) bool { return engine == Libbpf || engine == LibbpfLight }

// Ours reports whether an engine is made of our trace: trace, replay, what is signed, and
// skeletons. No rule explains that two of them differ.
func Ours(engine string) bool { return !IsCilium(engine) && !IsLibbpf(engine) }

// Strict reports whether two engines have to agree without any rule, but for those that
// name a kernel or a version of libbpf.
func Strict(a, b string) bool { return !IsCilium(a) && !IsCilium(b) && (Ours(a) || Ours(b)) }

// Names are the names of all engines.
func Names() []string {
	return []string{Direct, Trace, Replay, Signed, Libbpf, LibbpfLight, SkelGo, SkelC}
}

// Defaults are the names of the engines that need nothing that is not here, in
// the order in which they are run.
func Defaults() []string { return Names()[:3] }

// UseTool reports whether one of the engines needs bpftool.
func UseTool(names []string) bool {
	return slices.ContainsFunc(names, IsLibbpf)
}

// CiliumCode and Libbpf begin versions.
const (
	CiliumCode = "cilium/ebpf"
	LibbpfCode = "libbpf"
)

// GuestTool is the directory of bpftool in a guest. In it, bin has the programs
// and lib the libraries, package vmimage's layout (vmimage.Programs).
const GuestTool = "/bpftool"

// GuestSkeletons is the directory in a guest of the programs that engines skel-go and
// skel-c run.
const GuestSkeletons = "/skeletons"

// Skeletons returns those of the engines that run a program with skeletons, which has to
// be built for the objects that they will get: see package skelprog.
func Skeletons(names []string) (out []string) {
	for _, n := range names {
		if n == SkelGo || n == SkelC {
			out = append(out, n)
		}
	}
	return out
}
