package loader_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// runnerC runs a loader program from files with libbpf's own runtime. It prints what the load
// created, "map TYPE MAX_ENTRIES VALUE" and "program TYPE TAG", or which step failed. Arguments:
// instructions, blob, context, numbers of maps and programs, and the offsets in the context of the
// log's settings and of the steps' results.
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
	int maps = atoi(argv[4]), progs = atoi(argv[5]), open = count(), err;
	static char log[1 << 20];
	struct bpf_map_desc *m;
	struct bpf_prog_desc *p;
	__u32 size;
	char *ctx;

	opts.insns = file(argv[1], &opts.insns_sz);
	opts.data = file(argv[2], &opts.data_sz);
	ctx = file(argv[3], &size);
	opts.ctx = (void *)ctx;
	opts.ctx->sz = size;
	m = (void *)(opts.ctx + 1);
	p = (void *)(m + maps);
	if (atoi(argv[6])) {
		__u32 *at = (void *)(ctx + atoi(argv[6]));

		at[0] = 1;
		at[1] = sizeof(log);
		*(__u64 *)(at + 2) = (long)log;
	}
	err = bpf_load_and_run(&opts);
	if (err < 0)
		printf("error %d: %s\n", err, opts.errstr);
	for (int i = 7; i < argc; i++) {
		int result = *(int *)(ctx + atoi(argv[i]));

		if (result < 0) {
			printf("step %d: %d\n", i - 7, result);
			err = result;
		}
	}
	if (err < 0) {
		printf("%s\n", log);
		for (int i = 0; i < maps; i++)
			if (m[i].map_fd > 0)
				close(m[i].map_fd);
		for (int i = 0; i < progs; i++)
			if (p[i].prog_fd > 0)
				close(p[i].prog_fd);
		printf("open %d\n", count() - open);
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

// compile compiles C and returns the path of the executable.
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

// TestLibbpfRunsOurs: C code runs our loader programs with libbpf's runtime. Its context is longer
// than libbpf's, since the steps' results follow it.
func TestLibbpfRunsOurs(t *testing.T) {
	needLoaders(t)
	runner := compile(t, runnerC)
	run := func(t *testing.T, a *artefact.Artefact, o target.Options, log int) string {
		blob, ctx, err := replay.Inputs(a, replay.Options{Target: shared, Options: o})
		assert.NilError(t, err)
		var args []string
		dir := t.TempDir()
		for name, data := range map[string][]byte{"0": a.Insns, "1": blob, "2": ctx} {
			assert.NilError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		for _, name := range []string{"0", "1", "2"} {
			args = append(args, filepath.Join(dir, name))
		}
		for _, n := range []int{len(a.Maps), len(a.Programs), log} {
			args = append(args, strconv.Itoa(n))
		}
		for _, s := range a.Steps {
			args = append(args, strconv.Itoa(s.Result))
		}
		out, err := exec.Command(runner, args...).Output()
		assert.NilError(t, err, "%s", out)
		return string(out)
	}
	agree := func(t *testing.T, a *artefact.Artefact, o target.Options) {
		t.Helper()
		fds, err := replay.Load(a, replay.Options{Target: shared, Options: o})
		assert.NilError(t, err)
		defer fds.Close()
		assert.Equal(t, run(t, a, o, 0), printed(t, fds))
	}
	for _, name := range []string{
		"data_sections", "maps_many", "maps_perf_event_array", "kfunc_many", "kfunc_weak_guarded", "kconfig_version", "core_subprogs", "prog_many", "subprogs_nested",
	} {
		t.Run(name, func(t *testing.T) { agree(t, emitted(t, planCore(t, name)), target.Options{}) })
	}
	t.Run("inputs", func(t *testing.T) {
		a := emitted(t, planCore(t, "data_sections"))
		o := target.Options{Values: make(map[string][]byte)}
		for _, m := range a.Maps {
			if m.Value.Size > 0 { // the runtime updates these after the run
				o.Values[m.Name] = bytes.Repeat([]byte("v"), int(m.ValueSize))
			}
		}
		assert.Assert(t, len(o.Values) > 1)
		agree(t, a, o)
		a = emitted(t, planCore(t, "maps_hash"))
		agree(t, a, target.Options{MaxEntries: map[string]uint32{a.Maps[0].Name: 77}})
	})
	t.Run("refused program", func(t *testing.T) {
		a := emitted(t, planCore(t, "fail_verifier"))
		_, err := replay.Load(a, replay.Options{})
		var failed *artefact.StepError
		assert.Assert(t, errors.As(err, &failed), "%v", err)
		step := slices.IndexFunc(a.Steps, func(s artefact.Step) bool { return s.Subject == failed.Subject && s.Op == failed.Op })
		i := slices.IndexFunc(a.Programs, func(p artefact.Program) bool { return p.FD == a.Steps[step].Result })
		out := run(t, a, target.Options{}, a.Programs[i].Log)
		assert.Assert(t, strings.HasPrefix(out, fmt.Sprintf("error -13: failed to execute loader prog\nstep %d: -13\n", step)), "%s", out)
		assert.Assert(t, is.Contains(out, bpfsys.LastLine(failed.Log)))
		assert.Assert(t, is.Contains(out, "\nopen 0\n"))
	})
	t.Run("refused map", func(t *testing.T) {
		// Without programs, only the results show the failure.
		tr := planCore(t, "maps_only")
		at := slices.IndexFunc(tr.Commands, func(c trace.Command) bool { _, ok := c.(*trace.CreateMap); return ok })
		tr.Commands[at].(*trace.CreateMap).Attr.Flags = 1 << 31
		assert.Equal(t, len(tr.Programs), 0)
		out := run(t, emitted(t, tr), target.Options{}, 0)
		assert.Assert(t, strings.HasPrefix(out, "step ") && strings.Contains(out, ": -22\n"), "%s", out)
		assert.Assert(t, is.Contains(out, "\nopen 0\n"))
	})
}

// printed returns what runnerC prints for a load.
func printed(t testing.TB, fds *target.Result) string {
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
