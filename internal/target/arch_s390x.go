package target

// syscallWrapper is the name of bpf(2) behind a syscall wrapper.
const syscallWrapper = "__s390x_sys_bpf"

// userRegs is the struct behind the typedef bpf_user_pt_regs_t, itself a typedef.
const userRegs = "user_pt_regs"
