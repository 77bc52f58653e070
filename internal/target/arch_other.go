//go:build !amd64 && !arm64 && !riscv64 && !s390x && !loong64

package target

// syscallWrapper is empty: powerpc has wrappers without a prefix, and other architectures have
// none.
const syscallWrapper = ""
