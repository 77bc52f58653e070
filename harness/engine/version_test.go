package engine

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestLibbpfVersion(t *testing.T) {
	for out, want := range map[string]string{
		"bpftool v7.1.0\nusing libbpf v1.1\nfeatures: libbfd, skeletons\n":             "libbpf v1.1",
		"/usr/sbin/bpftool v7.5.0\nusing libbpf v1.5\nfeatures: llvm, skeletons\n":     "libbpf v1.5",
		"/usr/lib/linux-tools/bpftool v5.15.160\nfeatures: libbpf_strict, skeletons\n": "",
		"": "",
	} {
		assert.Equal(t, libbpfVersion(out), want)
	}
}

func TestVersion(t *testing.T) {
	assert.Equal(t, Version("trace", Tool{}), "")
	assert.Equal(t, Version("libbpf", Tool{}), "", "without a bpftool")
}
