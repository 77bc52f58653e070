package engine

import (
	"regexp"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/built"
)

// Version returns the release of the code that an engine runs: "cilium/ebpf v0.22.0", "libbpf
// v1.1". It is empty for our engines, and if the version is unknown.
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

// Since 7.0 `bpftool version` also prints libbpf's version, which differs from its own.
var usingLibbpf = regexp.MustCompile(`(?m)^using ` + enginename.LibbpfCode + ` (v\S+)$`)

func libbpfVersion(out string) string {
	m := usingLibbpf.FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return enginename.LibbpfCode + " " + m[1]
}
