package target

// syscallWrapper is the name of bpf(2)'s syscall wrapper (Linux 6.6).
const syscallWrapper = "__riscv_sys_bpf"
