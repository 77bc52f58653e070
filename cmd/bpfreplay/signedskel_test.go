package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
)

const signedGo = `package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/bpfreplay/bpfreplay/loader/skel"
)

func try(keyring string, set func(*Counter)) {
	s, err := OpenCounter()
	if err != nil {
		panic(err)
	}
	defer s.Close()
	set(s)
	s.Keyring = keyring
	if err := s.Load(); err != nil {
		fmt.Println(keyring, err, errors.Is(err, skel.ErrSigned))
		return
	}
	fmt.Println(keyring, "loaded", s.Programs.Run != nil, s.Data.Initialised)
}

func main() {
	try(os.Args[1], func(*Counter) {})
	try("builtin", func(*Counter) {})
	try("", func(s *Counter) { s.Data.Initialised = 7 })
	try(os.Args[1], func(s *Counter) { s.Data.Initialised = 7 })
}
`

const signedC = `#include "counter.lskel.h"

static void attempt(int keyring, bool plain, int set)
{
	struct counter *skel = counter__open();

	if (!skel)
		return;
	skel->keyring_id = keyring;
	skel->unsigned_load = plain;
	if (set)
		skel->data->initialised = (__u64)set;
	if (counter__load(skel) < 0)
		printf("%d %s\n", keyring, skel->error.text);
	else
		printf("%d loaded %d %d\n", keyring, skel->progs.run.prog_fd > 0, (int)skel->data->initialised);
	counter__destroy(skel);
}

int main(void)
{
	attempt(-4, false, 0);
	attempt(0, false, 0);
	attempt(0, true, 7);
	attempt(-4, false, 7);
	return 0;
}
`

// Skeletons in Go and C of a signed file load signed on a kernel of each contract, refuse overrides
// by name, and load unsigned on request.
func TestSignedSkeletons(t *testing.T) {
	need.QEMU(t)
	gcc := need.Program(t, "gcc")
	dir := t.TempDir()
	key, cert := testkey.RSA(t).Write(t, dir)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		assert.NilError(t, err, "%s %v\n%s", name, args, out)
		return string(out)
	}
	object := filepath.Join(root(t), "selftests/bpf/data_sections.bpf.o")
	put := func(name, text string) {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run(command, "gen", "-o", "my.bpfreplay", object)
	run(command, "sign", "my.bpfreplay", "--key", key, "--cert", cert)
	run(command, "gen", "--go", "--pkg", "main", "--ident", "Counter", "--artefact", "my.bpfreplay", object)
	run(command, "gen", "--c", "--ident", "counter", "--artefact", "my.bpfreplay", object)
	cmd := exec.Command(command, "gen", "--c", "--artefact", "my.bpfreplay", filepath.Join(root(t), "selftests/bpf/maps_hash.bpf.o"))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	assert.Assert(t, err != nil && strings.Contains(string(out), "it is not what gen writes of the object"), "%s", out)

	put("go.mod", "module example.com/signed\n\ngo 1.26.0\n")
	put("go.work", fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%s\n)\n", root(t)))
	put("main.go", signedGo)
	run("go", "build", "-o", "in-go", ".")
	put("main.c", signedC)
	run(gcc, "-Wall", "-Wextra", "-Werror", "-O2", "main.c", "-o", "in-c")
	run(gcc, "-Wall", "-Wextra", "-Werror", "-std=c++17", "-x", "c++", "-fsyntax-only", "-c", "main.c")

	for _, name := range []string{"6.18", "stable"} {
		t.Run(name, func(t *testing.T) {
			kernel := need.Kernel(t, name)
			guest := func(args ...string) string {
				return run(command, append([]string{"exec", "--accel", "tcg", "--kernel", kernel.BootPath, "--cert", cert, "--"}, args...)...)
			}
			said := guest("./in-go", "user")
			for _, want := range []string{
				"user loaded true ", "builtin skeleton of data_sections: loader program: PROG_LOAD: ENOKEY: the key ",
				"\n loaded true 7\n", "user skeleton of data_sections: variable initialised: a signed load takes nothing", "true\n",
			} {
				assert.Check(t, strings.Contains(said, want), "%q in\n%s", want, said)
			}
			said = guest("./in-c")
			for _, want := range []string{
				"-4 loaded 1 ", "\n0 loader program: PROG_LOAD: ENOKEY: the key is not in keyring 0\n", "\n0 loaded 1 7\n",
				"\n-4 map .data: initial value: a signed load takes nothing",
			} {
				assert.Check(t, strings.Contains(said, want), "%q in\n%s", want, said)
			}
		})
	}
}
