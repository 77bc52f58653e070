// Package bpfreplay embeds kernels.yaml, the core suite and the baselines, so that the command
// works without a source tree.
package bpfreplay

import "embed"

// Tree has kernels.yaml, the core suite with its objects, and the baselines of other suites, at
// their paths in the source tree.
//
//go:embed loader/policy/bpf/policy.bpf.o kernels.yaml selftests/cases.yaml selftests/bpf/*.o selftests/baselines
var Tree embed.FS
