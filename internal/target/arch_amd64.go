package target

// syscallWrapper is the name of bpf(2)'s syscall wrapper.
const syscallWrapper = "__x64_sys_bpf"
