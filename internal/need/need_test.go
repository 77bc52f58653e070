package need

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// TestMachine shows what this machine has, in one subtest for each need.
func TestMachine(t *testing.T) {
	for _, need := range []struct {
		name  string
		check func(testing.TB)
	}{
		{"root", Root},
		{"bpf", BPF},
		{"qemu", func(tb testing.TB) { QEMU(tb) }},
		{"qemu for arm64", func(tb testing.TB) { QEMU(tb, "arm64") }},
		{"kernel 5.10", func(tb testing.TB) { Kernel(tb, "5.10") }},
		{"kernel 6.1", func(tb testing.TB) { Kernel(tb, "6.1") }},
		{"kernel 6.12", func(tb testing.TB) { Kernel(tb, "6.12") }},
		{"kernel 6.18", func(tb testing.TB) { Kernel(tb, "6.18") }},
		{"kernel arm64/6.12", func(tb testing.TB) { Kernel(tb, "arm64/6.12") }},
		{"kernel stable", func(tb testing.TB) { Kernel(tb, "stable") }},
		{"bpftool", func(tb testing.TB) { Program(tb, "bpftool") }},
		{"C compiler", func(tb testing.TB) { Program(tb, "cc") }},
		{"libbpf", func(tb testing.TB) { File(tb, "/usr/include/bpf/libbpf.h") }},
	} {
		t.Run(need.name, func(t *testing.T) { need.check(t) })
	}
}

// outcome is a testing.TB that records how the test ended.
type outcome struct {
	testing.TB
	ended, reason string
}

func (o *outcome) end(how, reason string) {
	o.ended, o.reason = how, reason
	runtime.Goexit()
}

func (o *outcome) run(check func(testing.TB)) {
	done := make(chan bool)
	go func() {
		defer close(done)
		check(o)
	}()
	<-done
}

func (o *outcome) Skipf(format string, args ...any)  { o.end("skip", fmt.Sprintf(format, args...)) }
func (o *outcome) Fatalf(format string, args ...any) { o.end("fail", fmt.Sprintf(format, args...)) }

func TestPromises(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	t.Setenv("BPFREPLAY_CACHE", t.TempDir())
	for name, test := range map[string]struct {
		check  func(testing.TB)
		reason string
	}{
		"program": {func(tb testing.TB) { Program(tb, "busybox") }, "needs busybox, which is not in PATH"},
		"file":    {func(tb testing.TB) { File(tb, "/no/such/file") }, "needs /no/such/file: no such file or directory"},
		"kernel":  {func(tb testing.TB) { Kernel(tb, "6.12") }, "needs kernel 6.12: not in the cache"},
	} {
		for strict, want := range map[string]string{"": "skip", "1": "fail"} {
			t.Run(name+strict, func(t *testing.T) {
				t.Setenv(StrictEnv, strict)
				o := &outcome{TB: t}
				o.run(test.check)
				assert.Equal(t, o.ended, want)
				assert.Assert(t, is.Contains(o.reason, test.reason))
			})
		}
	}
}

func TestKnownBPF(t *testing.T) {
	asked := 0
	real := bpf
	bpf = func() error { asked++; return errors.New("stuck") }
	defer func() { bpf = real }()
	for known, want := range map[string]struct {
		ended, reason string
		asked         int
	}{
		"":          {"skip", "needs bpf(2): stuck", 1},
		BPFMust:     {"fail", "needs bpf(2): stuck (and BPFREPLAY_TEST_BPF says that it must work)", 1},
		BPFUnusable: {"skip", "needs bpf(2): unusable, says BPFREPLAY_TEST_BPF", 0},
	} {
		t.Run(known, func(t *testing.T) {
			t.Setenv(BPFEnv, known)
			asked = 0
			o := &outcome{TB: t}
			o.run(BPF)
			assert.Equal(t, o.ended, want.ended)
			assert.Equal(t, o.reason, want.reason)
			assert.Equal(t, asked, want.asked)
		})
	}
}
