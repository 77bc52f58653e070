package target

// syscallWrapper is the name of bpf(2)'s syscall wrapper.
const syscallWrapper = "__arm64_sys_bpf"
