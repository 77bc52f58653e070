package wire

// Probe is the answer to one probe.
type Probe struct {
	// Name is the capability, as in kernels.yaml and in `needs:` of a case.
	Name string `json:"name"`
	// OK: the kernel has it.
	OK bool `json:"ok"`
	// Errno is what the kernel refused the experiment with, such as "EINVAL".
	// It is empty if OK, and where no errno says why not.
	Errno string `json:"errno,omitempty"`
	// Detail is one line: what was tried and, if it failed, what the kernel
	// had to say about it.
	Detail string `json:"detail"`
}
