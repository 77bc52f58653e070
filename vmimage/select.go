package vmimage

import (
	"fmt"
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
//
// Expand fetches nothing; [Store.Resolve] reports kernels that are not available.
func (s *Store) Expand(spec string, archs ...string) ([]string, error) {
	// A path may have spaces. A name takes precedence over a file with the same name.
	if _, known := s.config.Find(spec); !known && len(s.config.Tier(spec)) == 0 {
		if _, err := os.Stat(expandHome(spec)); err == nil {
			return []string{spec}, nil
		}
	}
	words := strings.FieldsFunc(spec, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
	if len(words) == 0 {
		return nil, fmt.Errorf("no kernel was named; %s", s.known())
	}
	var all []string
	for _, word := range words {
		for _, word := range s.onEach(word, archs) {
			names, err := s.expandWord(word)
			if err != nil {
				return nil, err
			}
			all = append(all, names...)
		}
	}
	var once []string
	for _, name := range all {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once, nil
}

// onEach returns the name of a kernel or a tier for each architecture.
func (s *Store) onEach(word string, archs []string) (out []string) {
	if _, _, explicit := arch.Cut(word); explicit || len(archs) == 0 {
		return []string{word}
	}
	known := slices.ContainsFunc(s.config.Kernels, func(e Entry) bool { return e.Name == word || slices.Contains(e.Tiers, word) })
	if _, err := os.Stat(expandHome(word)); err == nil && !known || strings.ContainsRune(word, filepath.Separator) {
		return []string{word} // a path; the image has its architecture
	}
	for _, a := range archs {
		out = append(out, arch.Join(a, word))
	}
	return out
}

func (s *Store) expandWord(word string) ([]string, error) {
	if e, ok := s.config.Find(word); ok {
		return []string{e.Spec()}, nil
	}
	if names := s.config.Tier(word); len(names) > 0 {
		return names, nil
	}
	if _, err := os.Stat(expandHome(word)); err == nil {
		return []string{word}, nil
	} else if _, _, explicit := arch.Cut(word); strings.ContainsRune(word, filepath.Separator) && !explicit {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	return nil, s.unknown(word)
}

// unknown returns the error for a word that is neither a name nor a path.
func (s *Store) unknown(spec string) error {
	return fmt.Errorf("no kernel is called %q and no such file exists; %s", spec, s.known())
}

// Ready divides kernels into those that need no network and the others, each in the given order.
func (s *Store) Ready(names []string) (here, others []string, err error) {
	list, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		i := slices.IndexFunc(list, func(l Listing) bool { return l.Name == name })
		if i >= 0 && !list[i].Cached {
			others = append(others, name)
		} else {
			here = append(here, name)
		}
	}
	return here, others, nil
}
