package wire

// Probe is the result of one probe.
type Probe struct {
	// Name is the capability, as in kernels.yaml and in `needs:` of a case.
	Name string `json:"name"`
	// OK means that the kernel has the capability.
	OK bool `json:"ok"`
	// Errno is the kernel's error for the experiment, such as "EINVAL". It is empty if OK, and if
	// no errno gives the reason.
	Errno string `json:"errno,omitempty"`
	// Detail is one line: the experiment and, if it failed, the kernel's message.
	Detail string `json:"detail"`
}
