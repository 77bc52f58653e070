// Package catalog reads the list of kernels, kernels.yaml, and the lock file, kernels.lock. It says
// which kernels there are, where they may come from and what they must support; it fetches nothing.
// Begin with [Config] and [Entry].
//
// A user names kernels by a list such as "6.12 smoke arm64/6.6 /boot/vmlinuz". [Config.Expand]
// turns the list into single kernels, and [Config.Find] gives the entry of one, with its sources.
// What a source resolved to is a [Locked] kernel of a [LockFile]: packages and digests, without a
// host.
package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

// FileName is the name of the file that lists the kernels.
const FileName = "kernels.yaml"

// Config is a parsed kernels.yaml.
type Config struct {
	// Capabilities maps the name of a capability to the first kernel that has it. This package does
	// not interpret the names.
	Capabilities map[string]Capability `yaml:"capabilities"`

	Kernels []Entry `yaml:"kernels"`

	// File is the path of the kernels.yaml; "" if there is none.
	File string `yaml:"-"`
}

// FindFile returns the path of the kernels.yaml in dir or the nearest directory above it. If there
// is none, the error is [fs.ErrNotExist].
func FindFile(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		file := filepath.Join(at, FileName)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no %s in %s or above it: %w", FileName, dir, fs.ErrNotExist)
		}
	}
}

// Read reads and checks a kernels.yaml.
func Read(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.File = file
	for i := range c.Kernels {
		c.Kernels[i].anchor(filepath.Dir(file))
	}
	return c, nil
}

// parse parses and checks the contents of a kernels.yaml. Relative paths in it stay relative.
func parse(data []byte) (*Config, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	c := new(Config)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Find returns the entry whose [Entry.Spec] is spec.
func (c *Config) Find(spec string) (*Entry, bool) {
	of, name, _ := arch.Cut(spec)
	i := slices.IndexFunc(c.Kernels, func(e Entry) bool { return e.Name == name && e.Arch == of })
	if i < 0 {
		return nil, false
	}
	return &c.Kernels[i], true
}

// Names returns the [Entry.Spec] of all kernels, in the order of the file.
func (c *Config) Names() []string {
	return c.names(func(*Entry) bool { return true })
}

// Native returns the names of the kernels for this machine's architecture, in the order of the
// file.
func (c *Config) Native() []string {
	return c.names(func(e *Entry) bool { return e.Arch == arch.Native })
}

// Tier returns the names of the kernels of one tier, in the order of the file: "ci" of this
// machine's architecture, "arm64/ci" of another.
func (c *Config) Tier(tier string) []string {
	of, tier, _ := arch.Cut(tier)
	return c.names(func(e *Entry) bool { return e.Arch == of && slices.Contains(e.Tiers, tier) })
}

func (c *Config) names(wanted func(*Entry) bool) []string {
	names := make([]string, 0, len(c.Kernels))
	for i := range c.Kernels {
		if e := &c.Kernels[i]; wanted(e) {
			names = append(names, e.Spec())
		}
	}
	return names
}

func (c *Config) check() error {
	for _, name := range slices.Sorted(maps.Keys(c.Capabilities)) {
		capability := c.Capabilities[name]
		if err := capability.check(); err != nil {
			return fmt.Errorf("capability %s: %w", name, err)
		}
	}
	seen := make(map[string]bool)
	for i, e := range c.Kernels {
		if e.Name == "" {
			return fmt.Errorf("kernel number %d has no name", i+1)
		}
		if seen[e.Arch+"/"+e.Name] {
			return fmt.Errorf("kernel %s: listed twice", e.Spec())
		}
		seen[e.Arch+"/"+e.Name] = true
		if err := c.checkEntry(e); err != nil {
			return fmt.Errorf("kernel %s: %w", e.Name, err)
		}
	}
	return nil
}

func (c *Config) checkEntry(e Entry) error {
	if strings.ContainsAny(e.Name, "/ \t\n") {
		return errors.New("a name may hold neither slashes nor blanks")
	}
	if e.Arch == "" {
		return errors.New("arch is missing")
	}
	if a, err := arch.Parse(e.Arch); err != nil || a.Name != e.Arch {
		return fmt.Errorf("arch: no architecture is called %q: there are %s", e.Arch, strings.Join(arch.Names(), ", "))
	}
	if _, ok := kversion.Parse(e.Version); e.Version != "" && !ok {
		return fmt.Errorf("version: %q is not a kernel version", e.Version)
	}
	if len(e.Sources) == 0 {
		return errors.New("no sources")
	}
	for _, name := range slices.Sorted(maps.Keys(e.Without)) {
		if _, ok := c.Capabilities[name]; !ok {
			return fmt.Errorf("without: no capability is called %q", name)
		}
		if e.Without[name] == "" {
			return fmt.Errorf("without: %s: the reason is missing", name)
		}
	}
	for i, src := range e.Sources {
		if err := src.check(); err != nil {
			return fmt.Errorf("source %d: %w", i+1, err)
		}
	}
	return nil
}

// Nearest returns the names of the kernels just below and just above the version of e that come
// from Debian's archive or from this machine.
func (c *Config) Nearest(e *Entry) []string {
	if e.Version == "" {
		return nil
	}
	var below, above *Entry
	for i := range c.Kernels {
		other := &c.Kernels[i]
		if other.Version == "" || other.remote() || other.Arch != e.Arch || other.Name == e.Name {
			continue
		}
		switch isAbove := kversion.Compare(other.Version, e.Version) > 0; {
		case isAbove && (above == nil || kversion.Compare(other.Version, above.Version) < 0):
			above = other
		case !isAbove && (below == nil || kversion.Compare(other.Version, below.Version) > 0):
			below = other
		}
	}
	var names []string
	for _, near := range []*Entry{below, above} {
		if near != nil {
			names = append(names, near.Spec())
		}
	}
	return names
}
