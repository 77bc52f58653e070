package target

// syscallWrapper is empty: this architecture has no syscall wrappers.
const syscallWrapper = ""
