package skelgen

import (
	"fmt"
	"runtime"
	"strings"
)

// Target is what an object is compiled for, as bpf2go's -target has it.
type Target struct {
	// Suffix is what names of files end with: "bpfel", or "x86_bpfel" for one architecture.
	Suffix string
	// Constraint is a build constraint: the values of GOARCH that the object is for.
	Constraint string
	// Clang is the value of clang's -target, Linux that of __TARGET_ARCH_, empty for any.
	Clang, Linux string
}

// littleEndian are the values of GOARCH that bpfel is for.
const littleEndian = "386 amd64 arm arm64 loong64 mips64le mipsle ppc64le riscv64 wasm"

var linuxArch = map[string]string{
	"386": "x86", "amd64": "x86", "arm": "arm", "arm64": "arm64", "loong64": "loongarch", "ppc64le": "powerpc", "riscv64": "riscv",
}

// FindTarget knows "bpfel", "native" and values of GOARCH. There is no "bpfeb": package object reads
// no big-endian objects.
func FindTarget(name string) (Target, error) {
	if name == "native" {
		name = runtime.GOARCH
	}
	if name == "bpfel" {
		return Target{"bpfel", strings.ReplaceAll(littleEndian, " ", " || "), "bpfel", ""}, nil
	}
	arch, ok := linuxArch[name]
	if !ok {
		return Target{}, fmt.Errorf("target %q: known are bpfel, native, and of GOARCH those with little-endian BPF", name)
	}
	var same []string
	for _, goarch := range strings.Fields(littleEndian) {
		if linuxArch[goarch] == arch {
			same = append(same, goarch)
		}
	}
	return Target{arch + "_bpfel", strings.Join(same, " || "), "bpfel", arch}, nil
}
