// Package built reports the versions of this program's modules.
package built

import "runtime/debug"

// With returns the version of a Go module in this program, "v1.2.3", or the replacement if go.mod
// replaces the module. It is empty if the module is missing or the program has no build
// information.
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
