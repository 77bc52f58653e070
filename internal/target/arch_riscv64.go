package target

// syscallWrapper is the name of bpf(2) behind a syscall wrapper (Linux 6.6).
const syscallWrapper = "__riscv_sys_bpf"
