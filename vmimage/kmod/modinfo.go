// Package kmod reads kernel modules: what is in a module file, which modules a kernel has, and
// which of them have to be loaded before another. Begin with [Index].
package kmod

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/archive"
)

// maxModule bounds the size of an unpacked module in bytes.
const maxModule = 256 << 20

// Info has a module's name and the modules that it needs.
type Info struct {
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

// Name returns the kernel's name of a module from what people write or its file name:
// nf-conntrack, nf_conntrack.ko.xz.
func Name(s string) string {
	s = path.Base(s)
	if i := strings.Index(s, ".ko"); i >= 0 {
		s = s[:i]
	}
	return strings.ReplaceAll(s, "-", "_")
}

var moduleSuffixes = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

// IsFile reports whether a path below lib/modules/RELEASE is a module.
func IsFile(file string) bool {
	dir, _, _ := strings.Cut(file, "/")
	if dir != "kernel" && dir != "updates" && dir != "extra" {
		return false
	}
	return slices.ContainsFunc(moduleSuffixes, func(suffix string) bool { return strings.HasSuffix(file, suffix) })
}

// Read returns the contents of a module file, unpacked.
func Read(file string) ([]byte, error) {
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

// readInfo reads the section .modinfo of a module: strings of the form
// key=value, each with a zero byte at its end (include/linux/moduleparam.h).
func readInfo(module []byte) (*Info, error) {
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
	return parseInfo(data), nil
}

func parseInfo(data []byte) *Info {
	m := new(Info)
	for field := range bytes.SplitSeq(data, []byte{0}) {
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			continue
		}
		switch key {
		case "name":
			m.Name = Name(value)
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					m.Depends = append(m.Depends, Name(dep))
				}
			}
		case "softdep":
			m.Soft = append(m.Soft, softBefore(value)...)
		case "alias":
			if isNameAlias(value) {
				m.Aliases = append(m.Aliases, Name(value))
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
			out = append(out, Name(word))
		}
	}
	return out
}

// isNameAlias reports whether an alias is a name, such as crypto-crc32c, and not a pattern for
// hardware, such as pci:v00008086d*.
func isNameAlias(alias string) bool { return !strings.ContainsAny(alias, ":*?[/") }
