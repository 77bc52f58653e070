package catalog

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// LockName is the name of the lock file.
const LockName = "kernels.lock"

const lockSchema = 1

// ArchiveOCI is the archive of packages that are OCI images.
const ArchiveOCI = "oci"

// Locked is one kernel of the lock file: the result of resolving a name of kernels.yaml.
type Locked struct {
	Name string `json:"name"`
	Arch string `json:"arch,omitempty"` // "" in files from before there were several
	// Entry identifies the sources in kernels.yaml. If they change, the record is ignored.
	Entry   string `json:"entry"`
	Release string `json:"release"`
	// Source describes in words where the kernel came from.
	Source   string          `json:"source"`
	Packages []LockedPackage `json:"packages"`
}

// LockedPackage is one file of an archive. It names no host, because another machine may use
// another mirror. For an OCI image it is the manifest, which has the digests of all layers: then
// Package and Path are registry and repository, and Version is the tag.
type LockedPackage struct {
	Package string `json:"package"`
	Version string `json:"version"`
	// Archive is "debian", "debian-security", "debian-snapshot/" and a timestamp, or [ArchiveOCI].
	Archive string `json:"archive"`
	// Path is relative to the archive.
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
}

func (l *Locked) check() error {
	if l.Name == "" || len(l.Packages) == 0 {
		return errors.New("a kernel without a name or without packages")
	}
	for _, p := range l.Packages {
		if !digest.IsSHA256(p.SHA256) || p.Size <= 0 {
			return fmt.Errorf("kernel %s: package %s: no digest or no size", l.Name, p.Package)
		}
		if !apt.SafePath(p.Path) {
			return fmt.Errorf("kernel %s: package %s: path %q is not relative to an archive", l.Name, p.Package, p.Path)
		}
		if p.Archive == ArchiveOCI {
			src := OCI{Image: p.Path, Tag: p.Version}
			if err := src.check(); err != nil {
				return fmt.Errorf("kernel %s: %w", l.Name, err)
			}
			if len(l.Packages) != 1 {
				return fmt.Errorf("kernel %s: more than one OCI image", l.Name)
			}
			continue
		}
		snapshot, isSnapshot := strings.CutPrefix(p.Archive, apt.ArchiveSnapshot)
		if p.Archive != apt.ArchiveMain && p.Archive != apt.ArchiveSecurity && !(isSnapshot && timestampForm.MatchString(snapshot)) {
			return fmt.Errorf("kernel %s: package %s: no archive is called %q", l.Name, p.Package, p.Archive)
		}
	}
	return nil
}

// LockFile is a set of locked kernels.
type LockFile struct {
	Schema  int      `json:"schema"`
	Kernels []Locked `json:"kernels"`
}

// ReadLock reads a lock file. A missing file is an empty one.
func ReadLock(file string) (*LockFile, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &LockFile{Schema: lockSchema}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	l := new(LockFile)
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("lock file %s: %w", file, err)
	}
	if l.Schema != lockSchema {
		return nil, fmt.Errorf("lock file %s: schema %d is not known, only %d", file, l.Schema, lockSchema)
	}
	for i := range l.Kernels {
		if err := l.Kernels[i].check(); err != nil {
			return nil, fmt.Errorf("lock file %s: %w", file, err)
		}
	}
	return l, nil
}

// Find returns the record for an entry, if it was made for the entry's present sources; nil if
// there is none.
func (l *LockFile) Find(e *Entry) *Locked {
	i := slices.IndexFunc(l.Kernels, func(k Locked) bool { return k.Name == e.Name && k.Entry == e.ID() })
	if i < 0 {
		return nil
	}
	return &l.Kernels[i]
}

// Put adds a record, and replaces one for the same kernel.
func (l *LockFile) Put(rec Locked) {
	i := slices.IndexFunc(l.Kernels, func(k Locked) bool {
		return k.Name == rec.Name && (k.Arch == rec.Arch || k.Arch == "" && k.Entry == rec.Entry)
	})
	if i >= 0 {
		l.Kernels[i] = rec
		return
	}
	l.Kernels = append(l.Kernels, rec)
	slices.SortFunc(l.Kernels, func(a, b Locked) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch)) })
}

// Write replaces the file as a whole, or leaves it unchanged.
func (l *LockFile) Write(file string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	if err := renameio.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	return nil
}
