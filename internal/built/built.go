// Package built tells what this program was built with.
package built

import "runtime/debug"

// With returns the version of a Go module in this program, "v1.2.3". Where go.mod
// puts another in its place, that is what is returned. It is empty if the module is
// not there or the program does not know.
func With(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		return m.Version
	}
	return ""
}
