package state

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Link is a link that the load made (struct bpf_link_info).
type Link struct {
	Name   string `json:"name"` // name of the program
	Type   string `json:"type"`
	Attach string `json:"attach,omitempty"` // enum bpf_attach_type, for tracing programs
	Target string `json:"target,omitempty"` // name of what it is attached to
}

// String is the link in one line.
func (l *Link) String() string { return fmt.Sprint(l.Type, " ", l.Attach, " ", l.Target) }

// linkTypes are names from enum bpf_link_type.
var linkTypes = map[uint32]string{1: "RAW_TRACEPOINT", 2: "TRACING", 4: "ITER"}

// LinkType returns the name of a link's type.
func LinkType(info *bpfsys.LinkInfo) string {
	if name, ok := linkTypes[info.Type]; ok {
		return name
	}
	return fmt.Sprintf("link type %d", info.Type)
}

const tracingLink = 2

// CaptureLinks reads links. Their names are those of their programs.
func CaptureLinks(links []Handle, k *Kernel) ([]Link, error) {
	var out []Link
	for _, h := range links {
		info, err := bpfsys.GetLinkInfo(h.FD)
		if err != nil {
			return nil, fmt.Errorf("link of program %s: %w", h.Name, err)
		}
		l := Link{Name: h.Name, Type: LinkType(info)}
		if info.Type == tracingLink {
			l.Attach = info.AttachType.String()
			if info.Object != 0 {
				if l.Target, err = k.typeName(info.Object, info.Target); err != nil {
					return nil, fmt.Errorf("link of program %s: %w", h.Name, err)
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func (s *State) FindLink(name string) *Link {
	return find(s.Links, func(l *Link) bool { return l.Name == name })
}
