package target

// syscallWrapper is the name of bpf(2) behind a syscall wrapper.
const syscallWrapper = "__x64_sys_bpf"

// userRegs is the struct behind the typedef bpf_user_pt_regs_t.
const userRegs = "pt_regs"
