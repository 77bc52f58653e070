package target

// syscallWrapper is the name of bpf(2) behind a syscall wrapper.
const syscallWrapper = "__arm64_sys_bpf"
