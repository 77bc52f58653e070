package btf

// EssentialName returns a name without its flavour: without the last "___" that has no underscore
// before or after it, and what follows. "task_struct___old" stands for the kernel's "task_struct",
// "bpf_f___v2" for its function "bpf_f".
func EssentialName(name string) string {
	for i := len(name) - 5; i >= 0; i-- {
		if name[i] != '_' && name[i+1:i+4] == "___" && name[i+4] != '_' {
			return name[:i+1]
		}
	}
	return name
}
