package catalog

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Expand returns the kernels in a user's list: names of kernels.yaml, tiers, and paths, with blanks
// or commas between them. Each kernel appears once, in the order of the list. A name takes
// precedence over a tier with the same name. If the list is one path, it may have blanks and commas
// itself.
//
// A name or a tier without an architecture ("6.12", not "arm64/6.12") means the kernels of each
// architecture in archs, or of this machine's if archs is empty.
func (c *Config) Expand(spec string, archs ...string) ([]string, error) {
	// A path may have spaces. A name takes precedence over a file with the same name.
	if _, known := c.Find(spec); !known && len(c.Tier(spec)) == 0 && exists(spec) {
		return []string{spec}, nil
	}
	words := strings.FieldsFunc(spec, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
	if len(words) == 0 {
		return nil, fmt.Errorf("no kernel was named; %s", c.Known())
	}
	var all []string
	for _, word := range words {
		for _, word := range c.onEach(word, archs) {
			names, err := c.expandWord(word)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all, nil
}

// onEach returns the name of a kernel or a tier for each architecture.
func (c *Config) onEach(word string, archs []string) (out []string) {
	if _, _, explicit := arch.Cut(word); explicit || len(archs) == 0 {
		return []string{word}
	}
	known := slices.ContainsFunc(c.Kernels, func(e Entry) bool { return e.Name == word || slices.Contains(e.Tiers, word) })
	if !known && exists(word) || strings.ContainsRune(word, filepath.Separator) {
		return []string{word} // a path; the image has its architecture
	}
	for _, a := range archs {
		out = append(out, arch.Join(a, word))
	}
	return out
}

func (c *Config) expandWord(word string) ([]string, error) {
	if e, ok := c.Find(word); ok {
		return []string{e.Spec()}, nil
	}
	if names := c.Tier(word); len(names) > 0 {
		return names, nil
	}
	if _, _, err := c.Path(word); err != nil {
		return nil, err
	}
	return []string{word}, nil
}

// Path returns the path of the file or the directory that spec names, with the user's home in place
// of a tilde. If there is none, the error lists the names of kernels.yaml.
func (c *Config) Path(spec string) (string, fs.FileInfo, error) {
	file := expandHome(spec)
	info, err := os.Stat(file)
	if err == nil {
		return file, info, nil
	}
	if _, _, explicit := arch.Cut(spec); strings.ContainsRune(spec, filepath.Separator) && !explicit {
		return "", nil, fmt.Errorf("kernel: %w", err)
	}
	return "", nil, fmt.Errorf("no kernel is called %q and no such file exists; %s", spec, c.Known())
}

// Known returns in words which names there are, for errors.
func (c *Config) Known() string {
	if len(c.Kernels) == 0 {
		return "there is no " + FileName
	}
	return FileName + " has " + strings.Join(c.Names(), ", ")
}

func exists(spec string) bool {
	_, err := os.Stat(expandHome(spec))
	return err == nil
}

// expandHome replaces a tilde at the beginning of a path by the user's home, as shells do.
func expandHome(p string) string {
	rest, ok := strings.CutPrefix(p, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return p
	}
	return filepath.Join(home, rest)
}
