package vmimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// ConfigName is the name of the file that lists the kernels.
const ConfigName = "kernels.yaml"

// Config is a parsed kernels.yaml.
type Config struct {
	// Capabilities maps the name of a capability to the first kernel that has it. This package does
	// not interpret the names.
	Capabilities map[string]Capability `yaml:"capabilities"`

	Kernels []Entry `yaml:"kernels"`

	path string
}

// Capability is a feature that kernels have from some release on.
type Capability struct {
	// Since is the first upstream release that has it, such as "5.14".
	Since string `yaml:"since"`
	About string `yaml:"about"`
	// Archs has the first release for architectures that differ, or [Never].
	Archs map[string]string `yaml:",inline"`
}

// Never, in place of a release, means that no release has the capability on that architecture.
const Never = "never"

// SinceOn is the first upstream release that has it on an architecture, or [Never].
func (c *Capability) SinceOn(arch string) string {
	if since, ok := c.Archs[arch]; ok {
		return since
	}
	return c.Since
}

// Words returns in words which kernels have the capability.
func (c *Capability) Words() string {
	text := "which kernels have from " + c.Since + " on"
	for _, name := range slices.Sorted(maps.Keys(c.Archs)) {
		if c.Archs[name] == Never {
			text += ", and on " + name + " none has"
			continue
		}
		text += ", on " + name + " from " + c.Archs[name] + " on"
	}
	return text
}

func (c *Capability) check() error {
	if _, ok := kversion.Parse(c.Since); !ok {
		return fmt.Errorf("since: %q is not a kernel version", c.Since)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Archs)) {
		if a, ok := arch.Find(name); !ok || a.Name != name {
			return fmt.Errorf("%s: neither since nor about, and no architecture", name)
		}
		if _, ok := kversion.Parse(c.Archs[name]); !ok && c.Archs[name] != Never {
			return fmt.Errorf("%s: %q is neither a kernel version nor %q", name, c.Archs[name], Never)
		}
	}
	return nil
}

// Entry is one kernel of kernels.yaml.
type Entry struct {
	// Name is what users type.
	Name string `yaml:"name"`
	// Arch is the architecture in Debian's words, such as "arm64".
	Arch string `yaml:"arch"`
	// Version is the version that decides which capabilities the kernel must have; "" for the
	// version of the resolved kernel.
	Version string `yaml:"version"`
	// Tiers are the test tiers that the kernel belongs to.
	Tiers []string `yaml:"tiers"`
	// Sources are asked in order; the first that answers wins.
	Sources []Source `yaml:"sources"`
	// Without maps capabilities that the kernel lacks, although its version should have them, to
	// the reason.
	Without map[string]string `yaml:"without"`
}

// Source is one place to get a kernel from. Exactly one field is set.
type Source struct {
	Debian   *DebianSource   `yaml:"debian,omitempty" json:"debian,omitempty"`
	Snapshot *SnapshotSource `yaml:"debian-snapshot,omitempty" json:"debian-snapshot,omitempty"`
	OCI      *OCISource      `yaml:"oci,omitempty" json:"oci,omitempty"`
	URL      *URLSource      `yaml:"url,omitempty" json:"url,omitempty"`
	// File is the path of a bzImage or a vmlinux, relative to kernels.yaml.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// Tree is the path of a built kernel tree, relative to kernels.yaml.
	Tree string `yaml:"tree,omitempty" json:"tree,omitempty"`
}

// DebianSource is the newest matching kernel of one or more suites.
type DebianSource struct {
	Suites []string `yaml:"suites" json:"suites"`
	// Release is a pattern (see [path.Match]) for the output of `uname -r`. The names of the
	// packages follow from it, in the layout before Linux 6.19 and in the one since.
	Release string `yaml:"release" json:"release"`
	// Candidate selects release candidates; otherwise they are left out.
	Candidate bool `yaml:"candidate" json:"candidate,omitempty"`
}

// SnapshotSource is a Debian archive as it was at one moment.
type SnapshotSource struct {
	DebianSource `yaml:",inline"`
	// Timestamp of the snapshot archive, such as "20210828T000000Z".
	Timestamp string `yaml:"timestamp" json:"timestamp"`
}

// URLSource is one file anywhere: a kernel image, a Debian package, or a tar
// archive with /boot/vmlinuz and modules.
type URLSource struct {
	Address string `yaml:"address" json:"address"`
	// SHA256 of the file, in hexadecimal.
	SHA256 string `yaml:"sha256" json:"sha256"`
}

// FindConfig returns the path of the kernels.yaml in dir or the nearest
// directory above it. If there is none, the error is [fs.ErrNotExist].
func FindConfig(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		file := filepath.Join(at, ConfigName)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no %s in %s or above it: %w", ConfigName, dir, fs.ErrNotExist)
		}
	}
}

// ReadConfig reads and checks a kernels.yaml.
func ReadConfig(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.path = file
	for i := range c.Kernels {
		c.Kernels[i].anchor(filepath.Dir(file))
	}
	return c, nil
}

// ParseConfig parses and checks the contents of a kernels.yaml. Relative paths in it stay relative.
func ParseConfig(data []byte) (*Config, error) {
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

// Spec returns how users of this machine name the kernel: its name, behind its architecture if that
// is not this machine's ("arm64/6.12").
func (e *Entry) Spec() string { return arch.Join(e.Arch, e.Name) }

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

var timestampForm = regexp.MustCompile(`^\d{8}T\d{6}Z$`)

func (s *Source) check() error {
	var set []string
	for name, is := range map[string]bool{
		"debian": s.Debian != nil, "debian-snapshot": s.Snapshot != nil, "oci": s.OCI != nil, "url": s.URL != nil,
		"file": s.File != "", "tree": s.Tree != "",
	} {
		if is {
			set = append(set, name)
		}
	}
	if len(set) != 1 {
		return fmt.Errorf("needs exactly one of debian, debian-snapshot, oci, url, file and tree, has %d", len(set))
	}
	switch {
	case s.Debian != nil:
		return s.Debian.check()
	case s.Snapshot != nil:
		if !timestampForm.MatchString(s.Snapshot.Timestamp) {
			return fmt.Errorf("debian-snapshot: timestamp %q is not of the form 20210828T000000Z", s.Snapshot.Timestamp)
		}
		return s.Snapshot.DebianSource.check()
	case s.OCI != nil:
		return s.OCI.check()
	case s.URL != nil:
		if s.URL.Address == "" {
			return errors.New("url: address is missing")
		}
		if !digest.IsSHA256(s.URL.SHA256) {
			return fmt.Errorf("url: sha256 %q is not 64 lower-case hexadecimal digits", s.URL.SHA256)
		}
	}
	return nil
}

func (d *DebianSource) check() error {
	if len(d.Suites) == 0 {
		return errors.New("debian: suites are missing")
	}
	for _, suite := range d.Suites {
		if suite == "" || strings.ContainsAny(suite, "/ ") {
			return fmt.Errorf("debian: %q is not the name of a suite", suite)
		}
	}
	if _, err := path.Match(d.Release, ""); err != nil || d.Release == "" {
		return fmt.Errorf("debian: release %q is not a pattern", d.Release)
	}
	return nil
}

// anchor makes relative paths relative to the directory of kernels.yaml.
func (e *Entry) anchor(dir string) {
	for i := range e.Sources {
		src := &e.Sources[i]
		for _, p := range []*string{&src.File, &src.Tree} {
			*p = expandHome(*p)
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
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

// id identifies what the entry asks for. It shows that a lock was made for another pattern of the
// same name.
func (e *Entry) id() string {
	data, err := json.Marshal(struct {
		Arch    string
		Sources []Source
	}{e.Arch, e.Sources})
	if err != nil {
		// Strings and booleans always marshal.
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// remote reports whether the kernel comes only from the snapshot archive or a registry, which
// cannot be reached from everywhere.
func (e *Entry) remote() bool {
	return !slices.ContainsFunc(e.Sources, func(s Source) bool { return s.Snapshot == nil && s.OCI == nil })
}

// nearest returns the names of the kernels just below and just above the
// version of e that come from Debian's archive or from this machine.
func (c *Config) nearest(e *Entry) []string {
	want, ok := kversion.Parse(e.Version)
	if !ok {
		return nil
	}
	var below, above *Entry
	var belowAt, aboveAt kversion.Version
	for i := range c.Kernels {
		other := &c.Kernels[i]
		v, ok := kversion.Parse(other.Version)
		if !ok || other.remote() || other.Arch != e.Arch || other.Name == e.Name {
			continue
		}
		if v.Compare(want) <= 0 && (below == nil || v.Compare(belowAt) > 0) {
			below, belowAt = other, v
		}
		if v.Compare(want) > 0 && (above == nil || v.Compare(aboveAt) < 0) {
			above, aboveAt = other, v
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
