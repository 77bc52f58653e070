package toolbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// complete completes the word before the cursor: as a command where one can begin, otherwise as a
// file.
func (s *session) complete(line string, pos int) (head string, words []string, tail string) {
	runes := []rune(line)
	before, tail := string(runes[:pos]), string(runes[pos:])
	at := strings.LastIndexAny(before, " \t|&;(<>=") + 1
	head, word := before[:at], before[at:]
	if begins(head) && !strings.Contains(word, "/") {
		return head, commands(word), tail
	}
	return head, files(s.runner.Dir, word), tail
}

// begins reports whether a command can begin after head.
func begins(head string) bool {
	head = strings.TrimRight(head, " \t")
	return head == "" || strings.HasSuffix(head, "|") || strings.HasSuffix(head, "&") ||
		strings.HasSuffix(head, ";") || strings.HasSuffix(head, "(")
}

// commands returns the commands in $PATH that begin with word.
func commands(word string) []string {
	var found []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), word) {
				found = append(found, e.Name()+" ")
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// files returns the files that begin with word, relative to dir.
func files(dir, word string) []string {
	base, part := filepath.Split(word)
	at := base
	if !filepath.IsAbs(at) {
		at = filepath.Join(dir, at)
	}
	var found []string
	entries, _ := os.ReadDir(at)
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, part) || part == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(at, name)); err == nil && info.IsDir() {
			name += "/"
		} else {
			name += " "
		}
		found = append(found, base+name)
	}
	return found
}
