package state

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Link is a link that the load has made (struct bpf_link_info).
type Link struct {
	Name   string `json:"name"` // of the program
	Type   string `json:"type"`
	Attach string `json:"attach,omitempty"` // of tracing programs: enum bpf_attach_type
	Target string `json:"target,omitempty"` // what it is attached to, by name
}

// String is the link in one line.
func (l *Link) String() string { return fmt.Sprint(l.Type, " ", l.Attach, " ", l.Target) }

// linkTypes are names of enum bpf_link_type.
var linkTypes = map[uint32]string{1: "RAW_TRACEPOINT", 2: "TRACING", 4: "ITER"}

// LinkType is the name of a link's type.
func LinkType(info *bpfsys.LinkInfo) string {
	if name, ok := linkTypes[info.Type]; ok {
		return name
	}
	return fmt.Sprintf("link type %d", info.Type)
}

const tracingLink = 2

// CaptureLinks reads links, by the names of their programs.
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
