package engine

import (
	"regexp"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/built"
)

// Version reports which release of whose code an engine is: "cilium/ebpf v0.22.0",
// "libbpf v1.1". It is empty for ours, and where it cannot be told.
func Version(name string, tool Tool) string {
	switch name {
	case enginename.Direct:
		return ciliumVersion()
	case enginename.Libbpf, enginename.LibbpfLight:
		out, err := tool.run("telling its version", "version")
		if err != nil {
			return ""
		}
		return libbpfVersion(string(out))
	}
	return ""
}

func ciliumVersion() string {
	version := built.With("github.com/" + enginename.CiliumCode)
	if version == "" {
		return ""
	}
	return enginename.CiliumCode + " " + version
}

// `bpftool version` tells libbpf's, which may be another one, since 7.0.
var usingLibbpf = regexp.MustCompile(`(?m)^using ` + enginename.LibbpfCode + ` (v\S+)$`)

func libbpfVersion(out string) string {
	m := usingLibbpf.FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return enginename.LibbpfCode + " " + m[1]
}
