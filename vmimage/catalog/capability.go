package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

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

// In reports whether a kernel of a version must have it on an architecture.
func (c *Capability) In(version, arch string) bool {
	since := c.Since
	if other, ok := c.Archs[arch]; ok {
		since = other
	}
	return since != Never && kversion.Compare(version, since) >= 0
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
