package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// TestShippedConfig: the kernels.yaml of this repository is in order.
func TestShippedConfig(t *testing.T) {
	file, err := FindFile(".")
	assert.NilError(t, err)
	c, err := Read(file)
	assert.NilError(t, err)
	for _, name := range []string{"5.10", "5.13", "5.14", "5.15", "6.1", "6.6", "6.12", "6.17", "6.18", "stable", "rc"} {
		_, ok := c.Find(name)
		assert.Check(t, ok, name)
	}
	assert.Check(t, is.Contains(c.Tier("smoke"), "6.12"))
	assert.Check(t, is.DeepEqual(c.Tier("all"), c.Native()))
	e, _ := c.Find("5.13")
	assert.Check(t, is.DeepEqual(c.Nearest(e), []string{"5.10", "6.1"}))
	e, _ = c.Find("6.6")
	assert.Check(t, is.DeepEqual(c.Nearest(e), []string{"6.1", "6.12"}))
	for name, capability := range c.Capabilities {
		assert.Check(t, capability.About != "", name)
	}
}

func TestConfigErrors(t *testing.T) {
	const kernel = "kernels:\n - {name: a, arch: amd64, "
	for _, test := range []struct{ config, err string }{
		{"kernel: []", "field kernel not found"},
		{"capabilities: {x: {since: new}}", `capability x: since: "new" is not a kernel version`},
		{"kernels: [{arch: amd64}]", "kernel number 1 has no name"},
		{"kernels: [{name: a/b, arch: amd64}]", "neither slashes nor blanks"},
		{"kernels: [{name: a}]", "kernel a: arch is missing"},
		{kernel + "}", "kernel a: no sources"},
		{kernel + "version: six, sources: [{file: x}]}", `version: "six" is not a kernel version`},
		{kernel + "sources: [{file: x}]}\n - {name: a, arch: amd64, sources: [{file: x}]}", "kernel a: listed twice"},
		{kernel + "sources: [{}]}", "source 1: needs exactly one of debian, debian-snapshot, oci, url, file and tree, has 0"},
		{kernel + "sources: [{file: x, tree: y}]}", "has 2"},
		{kernel + "sources: [{debian: {release: x}}]}", "suites are missing"},
		{kernel + "sources: [{debian: {suites: [sid/main], release: x}}]}", "not the name of a suite"},
		{kernel + "sources: [{debian: {suites: [sid], release: '['}}]}", "not a pattern"},
		{kernel + "sources: [{debian: {suites: [sid]}}]}", "not a pattern"},
		{kernel + "sources: [{debian-snapshot: {suites: [sid], release: x, timestamp: today}}]}", `timestamp "today"`},
		{kernel + "sources: [{oci: {image: cilium/ci-kernels, tag: x}}]}", `image "cilium/ci-kernels" is not of the form`},
		{kernel + "sources: [{oci: {image: ghcr.io, tag: x}}]}", `image "ghcr.io" is not of the form`},
		{kernel + "sources: [{oci: {image: ghcr.io/Cilium, tag: x}}]}", "oci: "},
		{kernel + "sources: [{oci: {image: ghcr.io/cilium/ci-kernels}}]}", "oci: "},
		{kernel + "sources: [{oci: {image: 'ghcr.io/cilium/ci-kernels:6.12', tag: x}}]}", "oci: "},
		{kernel + "sources: [{oci: {image: ghcr.io/cilium/../x, tag: x}}]}", "oci: "},
		{kernel + "sources: [{url: {address: x, sha256: AB}}]}", "64 lower-case"},
		{kernel + "sources: [{url: {sha256: AB}}]}", "address is missing"},
		{kernel + "sources: [{file: x}], without: {x: y}}", `no capability is called "x"`},
		{"capabilities: {x: {since: '5.1'}}\n" + kernel + "sources: [{file: x}], without: {x: ''}}", "the reason is missing"},
		{"\tx", "found character that cannot start any token"},
	} {
		_, err := parse([]byte(test.config))
		assert.Check(t, is.ErrorContains(err, test.err), test.config)
	}
	empty, err := parse(nil)
	assert.NilError(t, err)
	assert.Check(t, is.Len(empty.Names(), 0))
}

// TestConfigPaths: paths are relative to kernels.yaml.
func TestConfigPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, FileName)
	assert.NilError(t, os.WriteFile(file, []byte("kernels: [{name: a, arch: amd64, sources: [{file: bzImage}, {tree: /abs}]}]"), 0o644))
	below := filepath.Join(dir, "a", "b")
	assert.NilError(t, os.MkdirAll(below, 0o755))
	found, err := FindFile(below)
	assert.NilError(t, err)
	c, err := Read(found)
	assert.NilError(t, err)
	assert.Equal(t, c.Kernels[0].Sources[0].File, filepath.Join(dir, "bzImage"))
	assert.Equal(t, c.Kernels[0].Sources[1].Tree, "/abs")
}
