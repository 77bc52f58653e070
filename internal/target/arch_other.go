//go:build !amd64 && !arm64

package target

// syscallWrapper is empty: no other architecture renames its system calls in
// a way that objects ask for.
const syscallWrapper = ""

// userRegs is the struct behind the typedef bpf_user_pt_regs_t.
const userRegs = "pt_regs"
