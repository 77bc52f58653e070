package target

// syscallWrapper is the name of bpf(2) behind a syscall wrapper.
const syscallWrapper = "__s390x_sys_bpf"
