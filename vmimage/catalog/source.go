package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

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

// Spec returns how users of this machine name the kernel: its name, behind its architecture if that
// is not this machine's ("arm64/6.12").
func (e *Entry) Spec() string { return arch.Join(e.Arch, e.Name) }

// Source is one place to get a kernel from. Exactly one field is set.
type Source struct {
	Debian   *Debian   `yaml:"debian,omitempty" json:"debian,omitempty"`
	Snapshot *Snapshot `yaml:"debian-snapshot,omitempty" json:"debian-snapshot,omitempty"`
	OCI      *OCI      `yaml:"oci,omitempty" json:"oci,omitempty"`
	URL      *URL      `yaml:"url,omitempty" json:"url,omitempty"`
	// File is the path of a bzImage or a vmlinux, relative to kernels.yaml.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// Tree is the path of a built kernel tree, relative to kernels.yaml.
	Tree string `yaml:"tree,omitempty" json:"tree,omitempty"`
}

// OfDebian returns which kernel of which suites of Debian the source means; nil for other sources.
// archive is the snapshot archive that has the suites; "" if each is in its own (see
// [apt.ArchiveOf]).
func (s *Source) OfDebian() (want *Debian, archive string) {
	if s.Snapshot != nil {
		return &s.Snapshot.Debian, apt.ArchiveSnapshot + s.Snapshot.Timestamp
	}
	return s.Debian, ""
}

// Debian is the newest matching kernel of one or more suites.
type Debian struct {
	Suites []string `yaml:"suites" json:"suites"`
	// Release is a pattern (see [path.Match]) for the output of `uname -r`. The names of the
	// packages follow from it, in the layout before Linux 6.19 and in the one since.
	Release string `yaml:"release" json:"release"`
	// Candidate selects release candidates; otherwise they are left out.
	Candidate bool `yaml:"candidate" json:"candidate,omitempty"`
}

// Snapshot is a Debian archive as it was at one moment.
type Snapshot struct {
	Debian `yaml:",inline"`
	// Timestamp of the snapshot archive, such as "20210828T000000Z".
	Timestamp string `yaml:"timestamp" json:"timestamp"`
}

// URL is one file anywhere: a kernel image, a Debian package, or a tar archive with /boot/vmlinuz
// and modules.
type URL struct {
	Address string `yaml:"address" json:"address"`
	// SHA256 of the file, in hexadecimal.
	SHA256 string `yaml:"sha256" json:"sha256"`
}

// OCI is an OCI image in the layout of ghcr.io/cilium/ci-kernels: boot/vmlinuz, and optionally
// modules and a configuration.
type OCI struct {
	// Image is registry and repository, such as "ghcr.io/cilium/ci-kernels". A registry on this
	// machine is used without TLS.
	Image string `yaml:"image" json:"image"`
	// Tag is looked up when the kernel is resolved, such as "6.12". The resulting digest is locked.
	Tag string `yaml:"tag" json:"tag"`
}

var timestampForm = regexp.MustCompile(`^\d{8}T\d{6}Z$`)

func (s *Source) check() error {
	set := 0
	for _, is := range []bool{s.Debian != nil, s.Snapshot != nil, s.OCI != nil, s.URL != nil, s.File != "", s.Tree != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("needs exactly one of debian, debian-snapshot, oci, url, file and tree, has %d", set)
	}
	switch {
	case s.Debian != nil:
		return s.Debian.check()
	case s.Snapshot != nil:
		if !timestampForm.MatchString(s.Snapshot.Timestamp) {
			return fmt.Errorf("debian-snapshot: timestamp %q is not of the form 20210828T000000Z", s.Snapshot.Timestamp)
		}
		return s.Snapshot.Debian.check()
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

func (d *Debian) check() error {
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

func (o *OCI) check() error {
	host, _, ok := strings.Cut(o.Image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return fmt.Errorf("oci: image %q is not of the form ghcr.io/cilium/ci-kernels", o.Image)
	}
	ref, err := registry.ParseReference(o.Image + ":" + o.Tag)
	if err == nil {
		err = ref.ValidateReferenceAsTag()
	}
	if err != nil {
		return fmt.Errorf("oci: %w", err)
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

// ID identifies what the entry asks for. It shows that a lock was made for another pattern of the
// same name.
func (e *Entry) ID() string {
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
