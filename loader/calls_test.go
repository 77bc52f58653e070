package loader_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// TestSystemCalls counts the system calls of a load with strace: six, four of them bpf(2), however
// many maps and programs there are. It makes no difference whether the loader program comes from an
// object or from a file.
func TestSystemCalls(t *testing.T) {
	needLoaders(t)
	strace := need.Program(t, "strace")
	self, err := os.Executable()
	assert.NilError(t, err)
	var files []string
	for _, name := range []string{"maps_array", "maps_many", "prog_many", "kfunc_many"} {
		object := filepath.Join(coreObjects, name+".bpf.o")
		file := filepath.Join(t.TempDir(), name+".bpfreplay")
		assert.NilError(t, generate(t, object, nil).WriteFile(file))
		files = append(files, object, file)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if strings.HasPrefix(filepath.Base(file), "kfunc_many") {
				needKfuncs(t, "bpf_task_acquire", "bpf_task_release")
			}
			out := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=bpf,close,openat,read,fcntl", "-o", out, self)
			// A signal makes a loader program start over, and Go's runtime preempts with signals.
			cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", helperEnv+"="+file)
			msg, err := cmd.CombinedOutput()
			if strings.Contains(string(msg), "ptrace") {
				t.Skipf("strace may not trace here: %s", msg)
			}
			assert.NilError(t, err, "%s", msg)
			_, rest, ok := strings.Cut(string(readFile(t, out)), helperMark)
			assert.Assert(t, ok)
			between, _, ok := strings.Cut(rest, helperMark)
			assert.Assert(t, ok)
			between = between[:strings.LastIndexByte(between, '\n')] // cut the second mark's line
			calls := regexp.MustCompile(`(?m)^\d+ +(bpf\(BPF_[A-Z_]+|close|openat|read|fcntl)`).FindAllStringSubmatch(between, -1)
			var got []string
			for _, c := range calls {
				got = append(got, strings.TrimPrefix(c[1], "bpf(BPF_"))
			}
			assert.DeepEqual(t, got, []string{"MAP_CREATE", "MAP_UPDATE_ELEM", "PROG_LOAD", "PROG_TEST_RUN", "close", "close"})
		})
	}
}

const (
	helperEnv  = "LOADER_TEST_LOAD"
	helperMark = "bpfreplay mark"
)

// runAsHelper loads an object between two marks for strace, if this process was started by
// TestSystemCalls.
func runAsHelper() {
	path := os.Getenv(helperEnv)
	if path == "" {
		return
	}
	a, err := artefact.ReadFile(path)
	if errors.Is(err, artefact.ErrFormat) {
		var obj *object.Object
		obj, err = object.Open(path)
		check(err)
		var tr *trace.Trace
		tr, err = trace.Plan(obj, trace.Options{})
		check(err)
		a, err = emit.Emit(tr)
	}
	check(err)
	o := replay.Options{Target: target.New()}
	warm, err := replay.Load(a, o)
	check(err)
	warm.Close()
	setMark()
	fds, err := replay.Load(a, o)
	setMark()
	check(err)
	fds.Close()
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// setMark makes a system call that has no effect but shows up in the trace.
func setMark() {
	if fd, err := unix.Open(helperMark, unix.O_RDONLY, 0); err == nil {
		unix.Close(fd)
	}
}

// TestParallel loads many objects at once with one Target, for the race detector. Some of them need
// the kernel's types.
func TestParallel(t *testing.T) {
	needLoaders(t)
	objects := []string{
		filepath.Join(coreObjects, "maps_many.bpf.o"), filepath.Join(coreObjects, "kconfig_version.bpf.o"),
		filepath.Join(coreObjects, "core_subprogs.bpf.o"), filepath.Join(coreObjects, "core_enums.bpf.o"),
		filepath.Join(coreObjects, "core_types_missing.bpf.o"), filepath.Join(coreObjects, "fail_verifier.bpf.o"),
		filepath.Join(coreObjects, "kfunc_many.bpf.o"), filepath.Join(coreObjects, "fail_map.bpf.o"), "testdata/steps.o",
	}
	var traces []*trace.Trace
	var programs []*artefact.Artefact
	for _, o := range objects {
		traces = append(traces, plan(t, o))
		programs = append(programs, emitted(t, traces[len(traces)-1]))
	}
	keepsFDs(t, func() {
		tg := target.New()
		want := make([]string, len(programs))
		for i, p := range programs {
			fds, err := replay.Load(p, replay.Options{})
			want[i] = outcome(t, traces[i], fds, err)
			if fds != nil {
				fds.Close()
			}
		}
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for round := range 2 {
					for i := range programs {
						i := (i + worker + round) % len(programs)
						tr := traces[i]
						e := engines[(worker+i)%2]
						fds, err := e.load(tr, tg, target.Options{})
						if e.name == "replay" { // one program in two goroutines
							if fds != nil {
								fds.Close()
							}
							fds, err = replay.Load(programs[i], replay.Options{Target: tg})
						}
						if got := outcome(t, tr, fds, err); got != want[i] {
							t.Errorf("%s: %s: %s, alone: %s", objects[i], e.name, got, want[i])
						}
						if fds != nil {
							fds.Close()
						}
					}
				}
			})
		}
		group.Wait()
	})
}
