// Package bpfreplay embeds the tree's kernels.yaml and core suite, so that the command works where
// there is no tree.
package bpfreplay

import "embed"

// Tree has kernels.yaml, the core suite with its objects, and the baselines of other suites, by the
// paths that they have in the tree.
//
//go:embed loader/policy/bpf/policy.bpf.o kernels.yaml selftests/cases.yaml selftests/bpf/*.o selftests/baselines
var Tree embed.FS
