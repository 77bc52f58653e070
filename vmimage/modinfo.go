package vmimage

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/archive"
)

// maxModule bounds the size of an unpacked module in bytes.
const maxModule = 256 << 20

// moduleInfo has a module's name and the modules that it needs.
type moduleInfo struct {
	// Name has underscores, as in the kernel.
	Name string `json:"name"`
	// Path is relative to the directory of the modules.
	Path string `json:"path"`
	// Depends are the modules whose symbols it uses.
	Depends []string `json:"depends,omitempty"`
	// Soft are modules or aliases to load before it if the kernel has them.
	Soft []string `json:"soft,omitempty"`
	// Aliases are its aliases, without those for hardware.
	Aliases []string `json:"aliases,omitempty"`
}

// moduleName returns the kernel's name of a module from what people write or its file name:
// nf-conntrack, nf_conntrack.ko.xz.
func moduleName(s string) string {
	s = path.Base(s)
	if i := strings.Index(s, ".ko"); i >= 0 {
		s = s[:i]
	}
	return strings.ReplaceAll(s, "-", "_")
}

var moduleSuffixes = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

// isModuleFile reports whether a path below lib/modules/RELEASE is a module.
func isModuleFile(file string) bool {
	dir, _, _ := strings.Cut(file, "/")
	if dir != "kernel" && dir != "updates" && dir != "extra" {
		return false
	}
	for _, suffix := range moduleSuffixes {
		if strings.HasSuffix(file, suffix) {
			return true
		}
	}
	return false
}

// readModule returns the contents of a module file, unpacked.
func readModule(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := archive.Plain(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	data, err := io.ReadAll(io.LimitReader(plain, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(data) > maxModule {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxModule)
	}
	return data, nil
}

// readModinfo reads the section .modinfo of a module: strings of the form
// key=value, each with a zero byte at its end (include/linux/moduleparam.h).
func readModinfo(module []byte) (*moduleInfo, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil || section.Type != elf.SHT_PROGBITS {
		return nil, errors.New("no section .modinfo: not a kernel module")
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("section .modinfo: %w", err)
	}
	return parseModinfo(data), nil
}

func parseModinfo(data []byte) *moduleInfo {
	m := new(moduleInfo)
	for field := range bytes.SplitSeq(data, []byte{0}) {
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			continue
		}
		switch key {
		case "name":
			m.Name = moduleName(value)
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					m.Depends = append(m.Depends, moduleName(dep))
				}
			}
		case "softdep":
			m.Soft = append(m.Soft, softBefore(value)...)
		case "alias":
			if isNameAlias(value) {
				m.Aliases = append(m.Aliases, moduleName(value))
			}
		}
	}
	return m
}

// softBefore returns the "pre:" part of "pre: a b post: c".
func softBefore(value string) []string {
	var out []string
	before := false
	for word := range strings.FieldsSeq(value) {
		if strings.HasSuffix(word, ":") {
			before = word == "pre:"
			continue
		}
		if before {
			out = append(out, moduleName(word))
		}
	}
	return out
}

// isNameAlias reports whether an alias is a name, such as crypto-crc32c, and not a pattern for
// hardware, such as pci:v00008086d*.
func isNameAlias(alias string) bool { return !strings.ContainsAny(alias, ":*?[/") }
