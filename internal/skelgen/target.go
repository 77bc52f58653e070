package skelgen

import (
	"fmt"
	"runtime"
	"strings"
)

// Target is a target of bpf2go's -target option.
type Target struct {
	// Suffix is the suffix of file names: "bpfel", or "x86_bpfel" for one architecture.
	Suffix string
	// Constraint is a build constraint with the GOARCH values of the target.
	Constraint string
	// Clang is the value of clang's -target. Linux follows __TARGET_ARCH_, empty if the target is
	// not one architecture.
	Clang, Linux string
}

// littleEndian has the GOARCH values of bpfel.
const littleEndian = "386 amd64 arm arm64 loong64 mips64le mipsle ppc64le riscv64 wasm"

var linuxArch = map[string]string{
	"386": "x86", "amd64": "x86", "arm": "arm", "arm64": "arm64", "loong64": "loongarch", "ppc64le": "powerpc", "riscv64": "riscv",
}

// FindTarget returns the target for "bpfel", "native" or a GOARCH value. There is no "bpfeb",
// because package object reads no big-endian objects.
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
