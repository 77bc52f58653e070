package loader_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// runnerC runs a loader program from files by libbpf's own runtime, and tells
// what came to be: "map TYPE MAX_ENTRIES VALUE" and "program TYPE TAG".
// Arguments: instructions, blob, numbers of maps and programs, then for maps
// "INDEX MAX_ENTRIES" or "INDEX =VALUE".
const runnerC = `
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/bpf.h>
#include <bpf/skel_internal.h>

static void *file(const char *path, __u32 *size)
{
	FILE *f = fopen(path, "rb");
	char *data;

	if (!f || fseek(f, 0, SEEK_END))
		exit(2);
	*size = ftell(f);
	rewind(f);
	data = malloc(*size);
	if (fread(data, 1, *size, f) != *size)
		exit(2);
	fclose(f);
	return data;
}

static void info(int fd, void *p, __u32 size)
{
	union bpf_attr attr = { .info = { .bpf_fd = fd, .info_len = size, .info = (long)p } };

	if (syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
		exit(3);
}

static void tell_map(int fd)
{
	struct bpf_map_info m = {};
	static unsigned char value[1 << 16];
	int key = 0;
	union bpf_attr attr = { .map_fd = fd, .key = (long)&key, .value = (long)value };

	info(fd, &m, sizeof(m));
	printf("map %u %u ", m.type, m.max_entries);
	if (m.type == BPF_MAP_TYPE_ARRAY && m.value_size <= sizeof(value) && !syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)))
		for (unsigned i = 0; i < m.value_size; i++)
			printf("%02x", value[i]);
	printf("\n");
}

static int count(void)
{
	int n = 0;

	for (int fd = 0; fd < 10000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(int argc, char **argv)
{
	struct bpf_load_and_run_opts opts = {};
	int maps = atoi(argv[3]), progs = atoi(argv[4]), open = count(), err;
	size_t size = sizeof(struct bpf_loader_ctx) + maps * sizeof(struct bpf_map_desc) + progs * sizeof(struct bpf_prog_desc);
	struct bpf_loader_ctx *ctx = calloc(1, size);
	struct bpf_map_desc *m = (void *)(ctx + 1);
	struct bpf_prog_desc *p = (void *)(m + maps);

	opts.insns = file(argv[1], &opts.insns_sz);
	opts.data = file(argv[2], &opts.data_sz);
	opts.ctx = ctx;
	ctx->sz = size;
	for (int i = 5; i + 1 < argc; i += 2) {
		if (argv[i + 1][0] == '=')
			m[atoi(argv[i])].initial_value = (long)(argv[i + 1] + 1);
		else
			m[atoi(argv[i])].max_entries = atoi(argv[i + 1]);
	}
	ctx->log_level = 1;
	ctx->log_size = 1 << 20;
	ctx->log_buf = (long)calloc(1, 1 << 20);
	err = bpf_load_and_run(&opts);
	if (err < 0) {
		printf("error %d: %s\n%s", err, opts.errstr, (char *)(long)ctx->log_buf);
		return 0;
	}
	for (int i = 0; i < maps; i++)
		tell_map(m[i].map_fd);
	for (int i = 0; i < progs; i++) {
		struct bpf_prog_info pi = {};

		info(p[i].prog_fd, &pi, sizeof(pi));
		printf("program %u ", pi.type);
		for (int k = 0; k < 8; k++)
			printf("%02x", pi.tag[k]);
		printf("\n");
	}
	printf("open %d\n", count() - open);
	return 0;
}
`

// compile compiles C and returns the program.
func compile(t testing.TB, source string) string {
	t.Helper()
	need.File(t, "/usr/include/bpf/skel_internal.h")
	gcc := need.Program(t, "gcc")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "a.c"), filepath.Join(dir, "a.out")
	assert.NilError(t, os.WriteFile(in, []byte(source), 0o600))
	msg, err := exec.Command(gcc, "-Wno-pointer-arith", "-o", out, in).CombinedOutput()
	assert.NilError(t, err, "%s", msg)
	return out
}

func writeFiles(t testing.TB, insns, blob []byte) (string, string) {
	t.Helper()
	dir := t.TempDir()
	i, b := filepath.Join(dir, "insns"), filepath.Join(dir, "blob")
	assert.NilError(t, os.WriteFile(i, insns, 0o600))
	assert.NilError(t, os.WriteFile(b, blob, 0o600))
	return i, b
}

// TestLibbpfRunsOurs: C code with libbpf's runtime runs our loader programs,
// and gives them sizes and values.
func TestLibbpfRunsOurs(t *testing.T) {
	needLoaders(t)
	runner := compile(t, runnerC)
	run := func(t *testing.T, p *loader.Program, args ...string) string {
		insns, blob := writeFiles(t, p.Insns, p.Blob)
		args = append([]string{insns, blob, strconv.Itoa(len(p.Trace.Maps)), strconv.Itoa(len(p.Trace.Programs))}, args...)
		out, err := exec.Command(runner, args...).Output()
		assert.NilError(t, err, "%s", out)
		return string(out)
	}
	for _, name := range []string{"data_sections", "maps_many", "kfunc_many", "kfunc_weak_guarded", "core_subprogs", "prog_many", "subprogs_nested"} {
		t.Run(name, func(t *testing.T) {
			p := generate(t, filepath.Join(coreObjects, name+".bpf.o"), &loader.Options{Inputs: true})
			fds, err := p.LoadFDs(&loader.LoadOptions{Target: shared})
			assert.NilError(t, err)
			defer fds.Close()
			assert.Equal(t, run(t, p), tell(t, fds))
		})
	}
	t.Run("inputs", func(t *testing.T) {
		p := generate(t, filepath.Join(coreObjects, "data_sections.bpf.o"), &loader.Options{Inputs: true})
		o := target.Options{Values: make(map[string][]byte)}
		var args []string
		for i, m := range p.Trace.Maps {
			value := strings.Repeat("v", int(m.ValueSize))
			o.Values[m.Name] = []byte(value)
			args = append(args, strconv.Itoa(i), "="+value)
		}
		fds, err := p.LoadFDs(&loader.LoadOptions{Options: o})
		assert.NilError(t, err)
		defer fds.Close()
		assert.Equal(t, run(t, p, args...), tell(t, fds))

		p = generate(t, filepath.Join(coreObjects, "maps_hash.bpf.o"), &loader.Options{Inputs: true})
		o = target.Options{MaxEntries: map[string]uint32{p.Trace.Maps[0].Name: 77}}
		sized, err := p.LoadFDs(&loader.LoadOptions{Options: o})
		assert.NilError(t, err)
		defer sized.Close()
		assert.Equal(t, run(t, p, "0", "77"), tell(t, sized))
	})
	t.Run("refused", func(t *testing.T) {
		p := generate(t, filepath.Join(coreObjects, "fail_verifier.bpf.o"), &loader.Options{Inputs: true})
		_, err := p.LoadFDs(nil)
		var step *trace.StepError
		assert.Assert(t, err != nil)
		assert.ErrorType(t, err, step)
		out := run(t, p)
		assert.Assert(t, strings.HasPrefix(out, "error -13: "), "%s", out)
		assert.Assert(t, strings.Contains(out, bpfsys.LastLine(err.(*trace.StepError).Log)), "%s", out)
	})
}

// tell is what runnerC prints of a load that leaves nothing else open.
func tell(t testing.TB, fds *loader.FDs) string {
	t.Helper()
	var b strings.Builder
	for _, fd := range fds.Maps {
		info, _, err := bpfsys.GetMapInfo(fd)
		assert.NilError(t, err)
		fmt.Fprintf(&b, "map %d %d ", info.Type, info.MaxEntries)
		value := make([]byte, info.ValueSize)
		if info.Type == 2 && len(value) <= 1<<16 && bpfsys.LookupElem(fd, make([]byte, 4), value) == nil {
			fmt.Fprintf(&b, "%x", value)
		}
		b.WriteByte('\n')
	}
	for _, fd := range fds.Programs {
		info, _, err := bpfsys.GetProgInfo(fd)
		assert.NilError(t, err)
		fmt.Fprintf(&b, "program %d %x\n", info.Type, info.Tag)
	}
	fmt.Fprintf(&b, "open %d\n", len(fds.Maps)+len(fds.Programs))
	return b.String()
}

// skeletonC takes instructions and blob out of a light skeleton, in the place
// where it would run them.
const skeletonC = `
#include <errno.h>
#include <stdio.h>
#include <bpf/skel_internal.h>

static int put(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	return !f || fwrite(data, 1, size, f) != size || fclose(f);
}

static char *insns_path, *blob_path;

static int take(struct bpf_load_and_run_opts *opts)
{
	if (put(insns_path, opts->insns, opts->insns_sz) || put(blob_path, opts->data, opts->data_sz))
		return -1;
	printf("%u\n", opts->ctx->sz);
	return -1;
}

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
#define bpf_load_and_run take
#include "SKELETON"

int main(int argc, char **argv)
{
	insns_path = argv[1];
	blob_path = argv[2];
	return NAME__open_and_load() != NULL;
}
`

// TestWeRunLibbpfs: our runtime runs the loader programs that bpftool makes,
// to the same end as ours for the same object.
func TestWeRunLibbpfs(t *testing.T) {
	needLoaders(t)
	bpftool := need.Program(t, "bpftool")
	for _, name := range []string{"data_strings", "data_zero", "maps_hash", "kfunc_many", "core_subprogs", "subprogs_nested"} {
		t.Run(name, func(t *testing.T) {
			object := filepath.Join(coreObjects, name+".bpf.o")
			skeleton, err := exec.Command(bpftool, "gen", "skeleton", "-L", object, "name", name).Output()
			assert.NilError(t, err)
			header := filepath.Join(t.TempDir(), "skeleton.h")
			assert.NilError(t, os.WriteFile(header, skeleton, 0o600))
			taker := compile(t, strings.NewReplacer("SKELETON", header, "NAME", name).Replace(skeletonC))
			insns, blob := writeFiles(t, nil, nil)
			out, err := exec.Command(taker, insns, blob).Output()
			assert.NilError(t, err)

			ours := generate(t, object, nil)
			raw := loader.Raw{Insns: readFile(t, insns), Blob: readFile(t, blob), Maps: len(ours.Trace.Maps), Programs: len(ours.Trace.Programs)}
			size, err := strconv.Atoi(strings.TrimSpace(string(out)))
			assert.NilError(t, err)
			assert.Equal(t, size, 24+16*raw.Maps+4*raw.Programs)

			want, err := ours.LoadFDs(&loader.LoadOptions{Target: shared})
			assert.NilError(t, err)
			defer want.Close()
			in := loader.Inputs{LogLevel: 1, Values: make([][]byte, raw.Maps)}
			for i, m := range ours.Trace.Maps { // bpftool's skeletons leave values to who runs them
				if isData(ours.Trace, i) {
					in.Values[i] = initialValue(t, ours.Trace, m.Name)
				}
			}
			keepsFDs(t, func() {
				fds, err := raw.Run(in)
				assert.NilError(t, err)
				// libbpf refers to maps by index, which kernels count into the tag.
				tag := regexp.MustCompile(`(?m)(^program \d+) .*`)
				assert.Equal(t, tag.ReplaceAllString(tell(t, fds), "$1"), tag.ReplaceAllString(tell(t, want), "$1"))
				fds.Close()
			})
		})
	}
}

// TestRawInputs: a loader program with inputs takes them from our runtime, too.
func TestRawInputs(t *testing.T) {
	needLoaders(t)
	p := generate(t, filepath.Join(coreObjects, "data_sections.bpf.o"), &loader.Options{Inputs: true})
	raw := loader.Raw{Insns: p.Insns, Blob: p.Blob, Maps: len(p.Trace.Maps), Programs: len(p.Trace.Programs)}
	in := loader.Inputs{Values: make([][]byte, raw.Maps), MaxEntries: make([]uint32, raw.Maps)}
	for i, m := range p.Trace.Maps {
		in.Values[i] = make([]byte, m.ValueSize)
		binary.LittleEndian.PutUint32(in.Values[i], 0x1234+uint32(i))
	}
	keepsFDs(t, func() {
		fds, err := raw.Run(in)
		assert.NilError(t, err)
		defer fds.Close()
		for i, fd := range fds.Maps {
			v := make([]byte, len(in.Values[i]))
			assert.NilError(t, bpfsys.LookupElem(fd, make([]byte, 4), v))
			assert.DeepEqual(t, v, in.Values[i])
		}
	})

	// A failed step leaves its index in the blob, and nothing open.
	bad := generate(t, filepath.Join(coreObjects, "fail_second.bpf.o"), &loader.Options{Inputs: true})
	raw = loader.Raw{Insns: bad.Insns, Blob: bad.Blob, Maps: len(bad.Trace.Maps), Programs: len(bad.Trace.Programs)}
	keepsFDs(t, func() {
		_, err := raw.Run(loader.Inputs{LogLevel: 1})
		var run *loader.RunError
		assert.ErrorType(t, err, run)
		run = err.(*loader.RunError)
		step := int(binary.LittleEndian.Uint32(run.Blob))
		_, isLoad := bad.Trace.Commands[step].(*trace.LoadProgram)
		assert.Assert(t, isLoad, "step %d", step)
		assert.Assert(t, run.Log != "")
	})
}
