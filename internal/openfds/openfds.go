// Package openfds lists the file descriptors that this process has open, for tests of what is
// closed.
package openfds

import (
	"os"
	"slices"
	"strings"
)

// List returns the open file descriptors with what they refer to, such as "7 anon_inode:bpf-map",
// sorted as text. It leaves out those of the Go runtime, which opens them when it first needs them.
func List() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err) // without /proc no test of descriptors means anything
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]" {
			continue // the directory itself, or the runtime's
		}
		open = append(open, e.Name()+" "+to)
	}
	slices.Sort(open)
	return open
}

// Kinds counts the open file descriptors by what they refer to, without numbers: a socket that
// replaces another one changes nothing.
func Kinds() map[string]int {
	count := make(map[string]int)
	for _, fd := range List() {
		_, to, _ := strings.Cut(fd, " ")
		kind, _, _ := strings.Cut(to, ":[") // "socket:[12345]"
		count[kind]++
	}
	return count
}
