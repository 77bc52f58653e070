package object

import "strings"

// IsStructOps says whether the programs of a section belong to struct_ops maps.
func IsStructOps(section string) bool {
	return strings.HasPrefix(strings.TrimPrefix(section, "?"), "struct_ops")
}
