package engine

import (
	"regexp"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/built"
)

// Version reports which release of whose code an engine is: "cilium/ebpf v0.22.0",
// "libbpf v1.1". It is empty for ours, and where it cannot be told.
func Version(name string, tool Tool) string {
	switch name {
	case state.EngineDirect:
		return ciliumVersion()
	case state.EngineLibbpf, state.EngineLibbpfLight:
		out, err := tool.run("telling its version", "version")
		if err != nil {
			return ""
		}
		return libbpfVersion(string(out))
	}
	return ""
}

// Cilium and Libbpf begin versions.
const (
	Cilium = "cilium/ebpf"
	Libbpf = "libbpf"
)

func ciliumVersion() string {
	version := built.With("github.com/" + Cilium)
	if version == "" {
		return ""
	}
	return Cilium + " " + version
}

// `bpftool version` tells libbpf's, which may be another one, since 7.0.
var usingLibbpf = regexp.MustCompile(`(?m)^using ` + Libbpf + ` (v\S+)$`)

func libbpfVersion(out string) string {
	m := usingLibbpf.FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return Libbpf + " " + m[1]
}
