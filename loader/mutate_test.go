package loader_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// mutantsEnv is the number of mutants that TestMutants makes, optionally with a seed:
// LOADER_TEST_MUTANTS=2000 or 2000:7. The default is a few.
const mutantsEnv = "LOADER_TEST_MUTANTS"

// localStorage are map types that TestMutants avoids. If MAP_CREATE of such a map fails late,
// kernels up to 6.18 wait for ever for the loader program that issued it
// (bpf_local_storage_map_free calls rcu_barrier_tasks_trace).
var localStorage = []uapi.MapType{uapi.MapSkStorage, uapi.MapInodeStorage, uapi.MapTaskStorage, uapi.MapCgrpStorage}

// TestMutants flips bytes in real objects. Whatever the result, nothing panics, no fd stays open
// and nothing stays in the kernel. If the object can be loaded, both engines get the same result.
func TestMutants(t *testing.T) {
	needLoaders(t)
	count, seed := 150, uint64(1)
	if env := os.Getenv(mutantsEnv); env != "" {
		n, s, _ := strings.Cut(env, ":")
		var err error
		count, err = strconv.Atoi(n)
		assert.NilError(t, err, mutantsEnv)
		if s != "" {
			seed, err = strconv.ParseUint(s, 10, 64)
			assert.NilError(t, err, mutantsEnv)
		}
	}
	files, err := filepath.Glob(filepath.Join(coreObjects, "*.bpf.o"))
	assert.NilError(t, err)
	more, err := filepath.Glob("../internal/object/testdata/*.o")
	assert.NilError(t, err)
	files = append(files, append(more, "testdata/steps.o", "testdata/freplace.o")...)

	random := rand.New(rand.NewPCG(seed, 0))
	var opened, planned, loaded int
	before := allIDs(t)
	var prefixes []string
	for i := range count {
		file := files[random.IntN(len(files))]
		raw := mutate(readFile(t, file), random)
		name := fmt.Sprintf("mutant %d of seed %d, of %s", i, seed, file)
		obj, err := object.OpenBytes(raw, filepath.Base(file))
		if err != nil {
			continue
		}
		opened++
		tr, err := trace.Plan(obj, trace.Options{})
		if err != nil {
			continue
		}
		if _, err := emit.Emit(tr); err != nil {
			continue
		}
		planned++
		if notHere(tr) {
			continue
		}
		prefixes = append(prefixes, mark(tr))
		var first string
		for k, e := range engines {
			keepsFDs(t, func() {
				fds, err := e.load(tr, shared, target.Options{PinPath: filepath.Join(t.TempDir(), "none")})
				got := outcome(t, tr, fds, err)
				if fds != nil {
					loaded++
					fds.Close()
				}
				if k == 0 {
					first = got
				}
				assert.Equal(t, got, first, "%s: %s against %s", name, e.name, engines[0].name)
			})
		}
	}
	goneFromKernel(t, before, prefixes...)
	t.Logf("%d mutants: %d are objects, %d have a loader program, %d loads succeed", count, opened, planned, loaded)
	assert.Assert(t, loaded > 0)
}

// mutate flips one to eight bytes of an object. Three times in four it spares headers and names,
// where a change would only make the object unreadable.
func mutate(raw []byte, random *rand.Rand) []byte {
	raw = slices.Clone(raw)
	if len(raw) == 0 {
		return raw
	}
	for range 1 + random.IntN(8) {
		at := random.IntN(len(raw))
		if random.IntN(4) > 0 {
			at = 64 + random.IntN(max(1, len(raw)/2))
		}
		at = min(at, len(raw)-1)
		switch random.IntN(3) {
		case 0:
			raw[at] ^= 1 << random.IntN(8)
		case 1:
			raw[at] = byte(random.Uint32())
		default:
			raw[at] += byte(1 + random.IntN(3))
		}
	}
	return raw
}

// notHere reports whether loading a trace here would be dangerous or slow.
func notHere(tr *trace.Trace) bool {
	return slices.ContainsFunc(tr.Commands, func(c trace.Command) bool {
		m, ok := c.(*trace.CreateMap)
		if !ok {
			return false
		}
		size := uint64(m.Attr.MaxEntries) * (uint64(m.Attr.KeySize) + uint64(m.Attr.ValueSize) + 8)
		return slices.Contains(localStorage, m.Attr.Type) || size > 64<<20
	})
}
