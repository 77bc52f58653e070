package inputs

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/loader/sign"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// DefaultEngines returns the engines that run if none are named. They include libbpf if there is a
// bpftool, the caller's or this machine's, that runs on all kernels.
func DefaultEngines(tool bool, kernels string, archs ...string) []string {
	engines := enginename.Defaults()
	for _, k := range strings.FieldsFunc(kernels, func(r rune) bool { return r == ',' || r == ' ' }) {
		of, _, _ := arch.Cut(k)
		archs = append(archs, of)
	}
	for _, name := range archs {
		if a, ok := arch.Find(name); !ok || a.Name != arch.Native {
			return engines
		}
	}
	if path, err := enginename.FindTool(); err == nil && !tool {
		_, err = initramfs.Programs(arch.Native, enginename.GuestTool, path) // in Ubuntu it is a script
		tool = err == nil
	}
	if tool {
		engines = append(engines, enginename.Libbpf)
	}
	return engines
}

// Certificates reads the certificates that signed loads trust, and returns them as DER.
func Certificates(paths []string) (certs [][]byte, err error) {
	for _, path := range paths {
		cert, err := sign.ReadCertificate(path)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert.Raw)
	}
	return certs, nil
}

// Replacements reads the values of --replace. It returns the target programs by the name of the
// freplace program.
func Replacements(values []string) (map[string]string, error) {
	programs := make(map[string]string)
	for _, text := range values {
		name, which, _ := strings.Cut(text, "=")
		if name == "" || which == "" || programs[name] != "" {
			return nil, fmt.Errorf("--replace %s: want NAME=PROGRAM, once for each name", text)
		}
		programs[name] = which
	}
	return programs, nil
}
