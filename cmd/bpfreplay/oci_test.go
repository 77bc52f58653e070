package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// A kernel image from a registry boots: Debian's kernel, in layers like those of other projects.
func TestKernelFromRegistry(t *testing.T) {
	need.QEMU(t)
	kernel := need.Kernel(t, "6.12")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/test/kernels"
	pushKernel(t, image, "six", kernel)

	dir := t.TempDir()
	config := fmt.Sprintf("kernels:\n  - name: six\n    arch: amd64\n    sources: [{oci: {image: %q, tag: six}}]\n", image)
	assert.NilError(t, os.WriteFile(filepath.Join(dir, catalog.FileName), []byte(config), 0o644))
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), command, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "BPFREPLAY_CACHE="+filepath.Join(dir, "cache"), "DOCKER_CONFIG="+dir)
		out, err := cmd.CombinedOutput()
		assert.NilError(t, err, string(out))
		return string(out)
	}
	out := run("vmtest", "--kernel", "six", "--accel", "tcg", "--suite", filepath.Join(root(t), "selftests", "cases.yaml"), "--case", "data_sections", "--case", "kfunc_module")
	assert.Check(t, is.Contains(out, "kernel six ("+kernel.Release+")"))
	assert.Check(t, is.Contains(out, "PASS"))

	// The cached kernel needs no registry.
	server.Close()
	assert.Equal(t, run("kernels", "fetch", "six"), "six\t"+kernel.Release+"\n")
}

// pushKernel pushes an image of a kernel: the kernel and its configuration in one layer, a few
// modules in another.
func pushKernel(t *testing.T, image, tag string, kernel *vmimage.Kernel) {
	t.Helper()
	repo, err := remote.NewRepository(image)
	assert.NilError(t, err)
	repo.PlainHTTP = true
	push := func(mediaType string, data []byte) ocispec.Descriptor {
		desc := ocispec.Descriptor{MediaType: mediaType, Digest: godigest.FromBytes(data), Size: int64(len(data))}
		assert.NilError(t, repo.Push(t.Context(), desc, bytes.NewReader(data)))
		return desc
	}
	boot := map[string]string{"boot/vmlinuz": kernel.ImagePath, "boot/config-" + kernel.Release: kernel.ConfigPath}
	modules := make(map[string]string)
	err = filepath.WalkDir(kernel.ModulesDir, func(file string, d fs.DirEntry, err error) error {
		if rel, relErr := filepath.Rel(kernel.ModulesDir, file); err == nil && relErr == nil && d.Type().IsRegular() &&
			regexp.MustCompile(`^modules\.|/nf_conntrack\.|/nf_defrag|crc32c`).MatchString(rel) {
			modules["usr/lib/modules/"+kernel.Release+"/"+rel] = file
		}
		return err
	})
	assert.NilError(t, err)
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	manifest.Config = push(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64"}`))
	for _, files := range []map[string]string{boot, modules} {
		manifest.Layers = append(manifest.Layers, push(ocispec.MediaTypeImageLayer, tarOf(t, files)))
	}
	data := mustJSON(t, manifest)
	desc := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: godigest.FromBytes(data), Size: int64(len(data))}
	assert.NilError(t, repo.PushReference(t.Context(), desc, bytes.NewReader(data), tag))
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	var buf bytes.Buffer
	assert.NilError(t, cli.PrintJSON(&buf, v))
	return buf.Bytes()
}

// tarOf returns an archive of files of this machine, by their names in it.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	assert.NilError(t, w.WriteHeader(&tar.Header{Name: "lib", Typeflag: tar.TypeSymlink, Linkname: "usr/lib"}))
	for name, file := range files {
		data, err := os.ReadFile(file)
		assert.NilError(t, err)
		assert.NilError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}))
		_, err = w.Write(data)
		assert.NilError(t, err)
	}
	assert.NilError(t, w.Close())
	return buf.Bytes()
}
