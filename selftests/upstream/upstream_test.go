// Package upstream runs the Linux selftests that use light skeletons: their own source with our
// header in the place of bpftool's, and the same assertions in Go. They need the suite kernel and
// test modules in the cache:
//
//	bpfreplay suite fetch kernel
//	bpfreplay suite modules 6.12 stable
//	go test -v ./selftests/upstream
package upstream

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/skelgen"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/sign"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// selftest is a file of prog_tests and the skeletons that it includes.
type selftest struct {
	name         string   // of the file; its function is test_NAME
	lskel, light []string // objects of light skeletons: NAME.lskel.h with names _lskel, NAME.skel.h
	full         []string // objects of libbpf's skeletons
	signed       bool     // Linux signs the first light skeleton
}

var selftests = []selftest{
	{name: "fentry_test", signed: true, lskel: []string{"fentry_test"}, full: []string{"fentry_many_args"}},
	{name: "fexit_test", signed: true, lskel: []string{"fexit_test"}, full: []string{"fexit_many_args"}},
	{name: "fexit_sleep", lskel: []string{"fexit_sleep"}},
	{
		name: "kfunc_call", lskel: []string{"kfunc_call_test", "kfunc_call_test_subprog"},
		full: []string{"kfunc_call_test", "kfunc_call_test_subprog", "kfunc_call_fail", "kfunc_call_destructive"},
	},
	{name: "ksyms_module", lskel: []string{"test_ksyms_module"}, full: []string{"test_ksyms_module"}},
	{name: "subprogs", light: []string{"test_subprogs", "test_subprogs_unused"}},
}

// rig is the suite in the cache.
type rig struct {
	work, source, tools, bpftool string
	objects                      map[string]string
	modules                      []string
	// signs means that this kernel verifies signatures, with the key of the certificate.
	signs bool
	key   crypto.Signer
	cert  *x509.Certificate
}

func newRig(t *testing.T, kernel *vmimage.Kernel) *rig {
	t.Helper()
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c, err := suites.Read(store, "kernel", arch.Native)
	if err != nil {
		t.Skip(err)
	}
	r := &rig{work: t.TempDir(), objects: make(map[string]string), bpftool: c.Tool(store)}
	for _, o := range c.Objects {
		if o.File != "" {
			r.objects[o.Name] = store.Cache().SuitePath(o.File)
		}
	}
	for _, use := range c.Uses {
		if strings.HasPrefix(use, "source/") {
			r.source = filepath.Join(store.Cache().SuitePath(use), "tools/testing/selftests/bpf")
		} else if strings.HasPrefix(use, "tools/") {
			r.tools = store.Cache().SuitePath(use)
		}
	}
	for _, path := range []string{r.source + "/prog_tests", r.tools + "/libbpf.a", r.bpftool} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the suite kernel of the cache is not a whole one: %v: run `bpfreplay suite fetch kernel`", err)
		}
	}
	// This uses no network, only what is cached.
	m, err := suites.KnownModules(store, kernel)
	if err != nil {
		t.Fatal(err)
	}
	if m == nil || m.Reason != "" {
		t.Skipf("needs the test modules of kernel %s: run `bpfreplay suite modules %s`", kernel.Name, kernel.Name)
	}
	for _, f := range m.Files {
		if filepath.Base(f) == "bpf_testmod.ko" {
			r.modules = append(r.modules, store.Cache().SuitePath(f))
		}
	}
	return r
}

// generate returns the artefact of an object.
func (r *rig) generate(t *testing.T, name string, signed bool) (*object.Object, []byte) {
	t.Helper()
	path, ok := r.objects[name]
	if !ok {
		t.Fatalf("the suite kernel has no object %s", name)
	}
	obj, err := object.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := emit.Emit(plan)
	if err != nil {
		t.Fatal(err)
	}
	if signed {
		if err := sign.Sign(a, r.key, r.cert); err != nil {
			t.Fatal(err)
		}
	}
	file, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return obj, file
}

// header writes a light skeleton, ours or bpftool's.
func (r *rig) header(t *testing.T, dir, file, object, name string, ours, signed bool) {
	t.Helper()
	if !ours {
		put(t, filepath.Join(dir, file), run(t, dir, r.bpftool, "gen", "skeleton", "-L", r.objects[object], "name", name))
		return
	}
	obj, artefact := r.generate(t, object, signed)
	code, err := skelgen.C(obj, artefact, skelgen.COptions{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, file), code)
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a program and returns what it prints.
func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOPROXY=off", "GOWORK="+filepath.Join(dir, "go.work"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := stderr.Bytes()
		t.Fatalf("%s: %v\n%s%s", name, err, stdout.Bytes(), said[:min(len(said), 4000)])
	}
	return stdout.Bytes()
}

// signing matches the line that sets the keyring of a signed skeleton.
var signing = regexp.MustCompile(`(?m)^.*->keyring_id.*\n`)

// build compiles a selftest and returns the program.
func (r *rig) build(t *testing.T, s *selftest, ours bool) string {
	t.Helper()
	dir := t.TempDir()
	signed := ours && s.signed && r.signs // the bpftool of the suite cannot sign
	for _, o := range s.lskel {
		r.header(t, dir, o+".lskel.h", o, o+"_lskel", ours, signed)
	}
	for _, o := range s.light {
		r.header(t, dir, o+".skel.h", o, o, ours, false)
	}
	for _, o := range s.full {
		put(t, filepath.Join(dir, o+".skel.h"), run(t, dir, r.bpftool, "gen", "skeleton", r.objects[o], "name", o))
	}
	source, err := os.ReadFile(filepath.Join(r.source, "prog_tests", s.name+".c"))
	if err != nil {
		t.Fatal(err)
	}
	if !signed {
		source = signing.ReplaceAll(source, nil)
	}
	put(t, filepath.Join(dir, s.name+".c"), source)
	shim, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	kind := "bpftool"
	if ours {
		kind = "ours"
	}
	bin := filepath.Join(r.work, s.name+"-"+kind)
	run(t, dir, need.Program(t, "gcc"), "-g", "-O1", "-static", "-o", bin, "-DTEST=test_"+s.name, "-I.", "-I"+shim, "-I"+r.tools+"/include",
		"-I"+filepath.Join(r.source, "../../../include/uapi"), s.name+".c", filepath.Join(shim, "main.c"), r.tools+"/libbpf.a", "-lelf", "-lz", "-lpthread")
	return bin
}

// buildGo compiles the tests in Go, with their skeletons.
func (r *rig) buildGo(t *testing.T) (tests, napper string) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "go.mod"), []byte("module example.com/upstream\n\ngo 1.26.0\n"))
	put(t, filepath.Join(dir, "go.work"), fmt.Appendf(nil, "go 1.26.0\n\nuse (\n\t.\n\t%s\n)\n", root))
	text, err := os.ReadFile("testdata/upstream_test.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "upstream_test.go"), text)
	for _, s := range selftests {
		for _, name := range slices.Concat(s.lskel, s.light) {
			obj, file := r.generate(t, name, false)
			o := skelgen.GoOptions{Package: "upstream", Ident: skelgen.Identifier(name), File: name + ".bpfreplay"}
			code, err := skelgen.Go(obj, file, o)
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, o.File), file)
			put(t, filepath.Join(dir, strings.TrimSuffix(name, "_test")+"_bpfel.go"), code)
		}
	}
	tests, napper = filepath.Join(r.work, "upstream.test"), filepath.Join(r.work, "napper")
	run(t, dir, need.Program(t, "go"), "test", "-c", "-vet=all", "-o", tests, ".")
	nap, err := filepath.Abs("testdata/napper.c")
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, need.Program(t, "gcc"), "-static", "-o", napper, nap)
	return tests, napper
}

// newest is the kernel on which all tests can run. Modules of older kernels lack a kfunc that
// kfunc_call_test calls, and bpftool's skeletons ask for a map's hash, which kernels before 6.18
// refuse with E2BIG.
const newest = "stable"

func TestConverted(t *testing.T) {
	need.QEMU(t)
	for _, name := range []string{"6.12", newest} {
		t.Run(name, func(t *testing.T) { converted(t, need.Kernel(t, name)) })
	}
}

func converted(t *testing.T, kernel *vmimage.Kernel) {
	r := newRig(t, kernel)
	modules := strings.Join(r.modules, " ")
	var err error
	if r.key, r.cert, err = sign.NewKey("upstream"); err != nil {
		t.Fatal(err)
	}
	r.signs = kernel.Name == newest
	certificate := filepath.Join(r.work, "cert.der")
	put(t, certificate, r.cert.Raw)
	var script strings.Builder
	args := []string{"exec", "--kernel", kernel.Name, "--bare", "--with", "/bin/sh"}
	for _, m := range append(slices.Clone(r.modules), certificate) {
		args = append(args, "--with", m)
	}
	want := 0
	for i := range selftests {
		s := &selftests[i]
		if s.name == "kfunc_call" && kernel.Name != newest {
			continue
		}
		for _, ours := range []bool{true, false} {
			if !ours && kernel.Name != newest {
				continue
			}
			bin := r.build(t, s, ours)
			args = append(args, "--with", bin)
			fmt.Fprintf(&script, "echo %s; %s %s; echo status $?\n", filepath.Base(bin), bin, modules+" "+certificate)
			want++
		}
	}
	tests, napper := r.buildGo(t)
	args = append(args, "--with", tests, "--with", napper)
	call := ""
	if kernel.Name == newest {
		call = "yes"
	}
	fmt.Fprintf(&script, "UPSTREAM_MODULES='%s' UPSTREAM_NAPPER=%s UPSTREAM_KFUNC_CALL=%s %s -test.v; echo status $?\n", modules, napper, call, tests)
	want++
	command := filepath.Join(r.work, "bpfreplay")
	build := exec.Command(need.Program(t, "go"), "build", "-o", command, "../../cmd/bpfreplay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(command, append(args, "--", "/bin/sh", "-c", script.String())...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), "status 0\n"); got != want {
		t.Errorf("%d of %d programs have passed", got, want)
	}
}
