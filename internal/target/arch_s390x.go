package target

// syscallWrapper is the name of bpf(2)'s syscall wrapper.
const syscallWrapper = "__s390x_sys_bpf"
