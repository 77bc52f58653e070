//go:build !amd64 && !arm64 && !riscv64 && !s390x && !loong64

package target

// syscallWrapper is empty: powerpc has wrappers and no prefix for them, and other
// architectures have none.
const syscallWrapper = ""
