package target

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strings"
)

// Functions returns the traceable functions of the kernel that match a pattern. If the pattern has
// no * and ?, it returns the pattern itself. The error wraps os.ErrNotExist if no function matches.
func Functions(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "*?") {
		return []string{pattern}, nil
	}
	var f *os.File
	var err error
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if f, err = os.Open(dir + "/available_filter_functions"); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the functions that match %s (is tracefs mounted?): %w", pattern, err)
	}
	defer f.Close()
	var names []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), " ")
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no function of the kernel matches %s: %w", pattern, os.ErrNotExist)
	}
	return names, nil
}
