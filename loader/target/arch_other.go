//go:build !amd64 && !arm64

package target

// syscallWrapper is empty: no other architecture renames its system calls in
// a way that objects ask for.
const syscallWrapper = ""
