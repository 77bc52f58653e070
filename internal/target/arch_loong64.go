package target

// syscallWrapper is empty: this architecture has no syscall wrappers.
const syscallWrapper = ""

// userRegs is the struct behind the typedef bpf_user_pt_regs_t.
const userRegs = "user_pt_regs"
