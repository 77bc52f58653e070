package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
)

// These variables make the test binary start a guest and wait to be killed, instead of running
// tests.
const (
	ownerKernelEnv = "BPFREPLAY_TEST_OWNER_KERNEL"
	ownerInitrdEnv = "BPFREPLAY_TEST_OWNER_INITRD"
)

func TestMain(m *testing.M) {
	if kernel := os.Getenv(ownerKernelEnv); kernel != "" {
		own(kernel, os.Getenv(ownerInitrdEnv))
	}
	code := m.Run()
	if testInitrd.dir != "" {
		os.RemoveAll(testInitrd.dir)
	}
	os.Exit(code)
}

// own prints the process id of a guest's QEMU and never returns.
func own(kernel, initrd string) {
	guest, err := Start(context.Background(), Config{Kernel: kernel, Initrd: initrd, Accelerator: accel.TCG})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(guest.proc.cmd.Process.Pid)
	select {}
}

var testInitrd struct {
	once sync.Once
	dir  string
	err  error
	// built has the architectures whose initramfs was built, and the error if that failed.
	built map[string]error
}

// guestConfig returns what is needed to boot the test guest, or skips the test.
func guestConfig(tb testing.TB) Config {
	tb.Helper()
	return guestConfigOf(tb, arch.Native)
}

// guestConfigOf is guestConfig for an architecture.
func guestConfigOf(tb testing.TB, of string) Config {
	tb.Helper()
	need.QEMU(tb, of)
	kernel := need.Kernel(tb, arch.Join(of, "6.12"))
	testInitrd.once.Do(func() {
		testInitrd.dir, testInitrd.err = os.MkdirTemp("", "bpfreplay-vm-test-")
		testInitrd.built = make(map[string]error)
	})
	assert.NilError(tb, testInitrd.err)
	dir := filepath.Join(testInitrd.dir, of)
	if _, done := testInitrd.built[of]; !done {
		testInitrd.built[of] = buildInitrd(dir, of)
	}
	assert.NilError(tb, testInitrd.built[of])
	return Config{
		Arch:        of,
		Kernel:      kernel.BootPath,
		Initrd:      filepath.Join(dir, "initrd.cpio"),
		Accelerator: accel.TCG,
	}
}

func buildInitrd(dir, of string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "init"), "./internal/testguest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+of, "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build init: %w\n%s", err, out)
	}
	init, err := os.ReadFile(filepath.Join(dir, "init"))
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "initrd.cpio"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	records := []cpio.Record{
		cpio.StaticFile("init", string(init), 0o755),
		cpio.Directory("dev", 0o755),
		// Without it PID 1 has no standard output.
		cpio.CharDev("dev/console", 0o600, 5, 1),
	}
	if err := cpio.WriteRecords(w, records); err != nil {
		return err
	}
	return cpio.WriteTrailer(w)
}

// nothingLeft checks at the end of the test that it left no child, no descriptor and no temporary
// file behind.
func nothingLeft(t *testing.T) {
	t.Helper()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	before := openfds.Kinds()
	t.Cleanup(func() {
		assert.DeepEqual(t, children(t), []string(nil))
		assert.DeepEqual(t, openfds.Kinds(), before)
		left, err := os.ReadDir(temp)
		assert.NilError(t, err)
		assert.Equal(t, len(left), 0, "temporary files: %v", left)
	})
}

func children(t *testing.T) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	assert.NilError(t, err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has exited
		}
		assert.NilError(t, err)
		pids = append(pids, strings.Fields(string(data))...)
	}
	return pids
}

// boot starts a guest, and closes it at the end of the test.
func boot(t *testing.T, ctx context.Context, config Config) *VM {
	t.Helper()
	nothingLeft(t)
	guest, err := Start(ctx, config)
	assert.NilError(t, err)
	t.Cleanup(func() {
		assert.NilError(t, guest.Close())
		if t.Failed() {
			e := guest.Ending()
			t.Logf("%v\nconsole:\n%s\nQEMU: %s", e, strings.Join(e.Console, "\n"), e.QEMU)
		}
	})
	return guest
}

// ask sends a line and returns the line that the guest answers, or its greeting if request is
// empty.
func ask(port *Port, request string) (string, error) {
	if request != "" {
		if _, err := fmt.Fprintln(port, request); err != nil {
			return "", err
		}
	}
	line, err := bufio.NewReader(port).ReadString('\n')
	return strings.TrimSpace(line), err
}

// ready waits until the test guest has booted.
func ready(t *testing.T, guest *VM) {
	t.Helper()
	assert.NilError(t, guest.Do(t.Context(), func(port *Port) error {
		line, err := ask(port, "")
		if err == nil && line != "ready" {
			err = fmt.Errorf("guest says %q", line)
		}
		return err
	}))
}

func TestGuestAnswersAndPowersOff(t *testing.T) {
	config := guestConfig(t)
	config.ConsolePath = filepath.Join(t.TempDir(), "console, with a comma.log")
	guest := boot(t, t.Context(), config)
	assert.Equal(t, guest.BootTime(), time.Duration(0))
	ready(t, guest)
	assert.Assert(t, guest.BootTime() > 0)
	t.Logf("booted in %s", guest.BootTime())

	err := guest.Do(t.Context(), func(port *Port) error {
		line, err := ask(port, "echo hello guest")
		assert.Equal(t, line, "hello guest")
		return err
	})
	assert.NilError(t, err)

	// Getrandom in the guest does not block.
	err = guest.Do(t.Context(), func(port *Port) error {
		line, err := ask(port, "random")
		assert.Equal(t, line, "seeded")
		return err
	})
	assert.NilError(t, err)

	// A deadline on the port does not end the guest.
	assert.NilError(t, guest.Port().SetReadDeadline(time.Now()))
	_, err = guest.Port().Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.NilError(t, guest.Port().SetReadDeadline(time.Time{}))

	err = guest.Do(t.Context(), func(port *Port) error {
		_, err := ask(port, "log WARNING: CPU: 0 PID: 1 at lib/test.c:1 test+0x1/0x2")
		return err
	})
	assert.NilError(t, err)
	// What the guest sends just before its end can still be read afterwards.
	_, err = io.WriteString(guest.Port(), "echo last words\npoweroff\n")
	assert.NilError(t, err)
	ending := guest.Wait()
	assert.Equal(t, ending.Reason, PoweredOff, ending)
	want := []Splat{{"warning", "WARNING: CPU: 0 PID: 1 at lib/test.c:1 test+0x1/0x2"}}
	assert.DeepEqual(t, ending.Splats, want)
	assert.DeepEqual(t, guest.Splats(), want)
	rest, err := io.ReadAll(guest.Port())
	assert.NilError(t, err)
	assert.Equal(t, string(rest), "last words\n")
	_, err = guest.Port().Write([]byte("x"))
	assert.ErrorIs(t, err, io.EOF)

	console, err := os.ReadFile(config.ConsolePath)
	assert.NilError(t, err)
	assert.Assert(t, is.Contains(string(console), "Linux version "))
	assert.Assert(t, is.Contains(string(console), ending.Console[len(ending.Console)-1]))

	assert.NilError(t, guest.Close())
	assert.NilError(t, guest.Close())
	assert.Equal(t, guest.Ending().Reason, PoweredOff)
	_, err = guest.Port().Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}

func TestGuestEnds(t *testing.T) {
	for _, test := range []struct {
		command, params string
		silence, limit  time.Duration
		reason          Reason
		cause           string
		console         string
	}{
		{command: "crash", reason: Panicked, cause: "Kernel panic - not syncing: sysrq triggered crash", console: "Call Trace:"},
		{command: "exit", reason: Panicked, cause: "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300"},
		{command: "reboot", reason: Rebooted, console: "reboot: Restarting system"},
		// The VM does not wait for a panic that neither reboots nor powers off.
		{command: "crash", params: "panic=0", reason: Panicked, cause: "Kernel panic - not syncing: sysrq triggered crash"},
		{command: "sleep", silence: time.Second, reason: Silent, cause: "no sign of life for 1s; an NMI found it at ", console: "NMI: Not continuing"},
		{command: "spin", limit: time.Second, reason: Overdue, cause: "no answer by the deadline; an NMI found it at ", console: "NMI: Not continuing"},
	} {
		t.Run(strings.TrimSpace(test.command+" "+test.params), func(t *testing.T) {
			config := guestConfig(t)
			config.Params = strings.Fields(test.params)
			config.SilenceTimeout = test.silence
			guest := boot(t, t.Context(), config)
			ready(t, guest)

			ctx := t.Context()
			if test.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.limit)
				defer cancel()
			}
			err := guest.Do(ctx, func(port *Port) error {
				_, err := ask(port, test.command)
				return err
			})
			var ending *Ending
			assert.Assert(t, errors.As(err, &ending), "error: %v", err)
			assert.Equal(t, ending.Reason, test.reason)
			assert.Assert(t, is.Contains(ending.Cause, test.cause))
			assert.Assert(t, is.Contains(strings.Join(ending.Console, "\n"), test.console))
			t.Log(err)
		})
	}
}

func TestGuestThatDoesNotBoot(t *testing.T) {
	config := guestConfig(t)
	config.Params = []string{"testguest.mute"}
	config.BootTimeout = 5 * time.Second
	guest := boot(t, t.Context(), config)
	err := guest.Do(t.Context(), func(port *Port) error {
		_, err := ask(port, "")
		return err
	})
	var ending *Ending
	assert.Assert(t, errors.As(err, &ending), "error: %v", err)
	assert.Equal(t, ending.Reason, NoBoot)
	assert.Assert(t, is.Contains(ending.Cause, "nothing on the port after 5s"))
	t.Log(err)
}

func TestGuestIsEndedFromOutside(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(guest *VM, cancelStart, cancelDo context.CancelFunc) error
		reason Reason
	}{
		"kill QEMU": {func(guest *VM, _, _ context.CancelFunc) error {
			return unix.Kill(guest.proc.cmd.Process.Pid, unix.SIGKILL)
		}, Killed},
		"terminate QEMU": {func(guest *VM, _, _ context.CancelFunc) error {
			return unix.Kill(guest.proc.cmd.Process.Pid, unix.SIGTERM)
		}, Killed},
		"cancel the guest": {func(_ *VM, cancel, _ context.CancelFunc) error {
			cancel()
			return nil
		}, Cancelled},
		"cancel the request": {func(_ *VM, _, cancel context.CancelFunc) error {
			cancel()
			return nil
		}, Cancelled},
		"close": {func(guest *VM, _, _ context.CancelFunc) error { return guest.Close() }, Closed},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			guest := boot(t, ctx, guestConfig(t))
			ready(t, guest)

			doCtx, cancelDo := context.WithCancel(ctx)
			defer cancelDo()
			result := make(chan error)
			go func() {
				result <- guest.Do(doCtx, func(port *Port) error {
					_, err := ask(port, "sleep")
					return err
				})
			}()
			assert.NilError(t, test.end(guest, cancel, cancelDo))
			err := <-result
			var ending *Ending
			assert.Assert(t, errors.As(err, &ending), "error: %v", err)
			assert.Equal(t, ending.Reason, test.reason)
			t.Log(err)
		})
	}
}

func TestGuestDiesWithItsOwner(t *testing.T) {
	config := guestConfig(t)
	nothingLeft(t)
	self, err := os.Executable()
	assert.NilError(t, err)
	owner := exec.CommandContext(t.Context(), self)
	owner.Env = append(os.Environ(), ownerKernelEnv+"="+config.Kernel, ownerInitrdEnv+"="+config.Initrd)
	out, err := owner.StdoutPipe()
	assert.NilError(t, err)
	assert.NilError(t, owner.Start())
	defer func() {
		_ = owner.Process.Kill()
		_ = owner.Wait()
	}()

	var pid int
	_, err = fmt.Fscanln(out, &pid)
	assert.NilError(t, err)
	qemu, err := unix.PidfdOpen(pid, 0)
	assert.NilError(t, err)
	defer unix.Close(qemu)

	assert.NilError(t, owner.Process.Kill())
	fds := []unix.PollFd{{Fd: int32(qemu), Events: unix.POLLIN}}
	n := 0
	for n, err = unix.Poll(fds, 30_000); err == unix.EINTR; n, err = unix.Poll(fds, 30_000) {
	}
	assert.NilError(t, err)
	if n == 0 {
		_ = unix.PidfdSendSignal(qemu, unix.SIGKILL, nil, 0)
		t.Fatal("QEMU outlived its owner by half a minute")
	}
}

func TestStartFails(t *testing.T) {
	kernel := func(content string) string {
		path := filepath.Join(t.TempDir(), "kernel")
		assert.NilError(t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "qemu")
		assert.NilError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
		return path
	}
	good := Config{QEMU: script("exec cat"), Kernel: kernel("kernel"), Initrd: kernel("initrd"), Accelerator: accel.TCG}

	for name, test := range map[string]struct {
		spoil func(*Config)
		want  string
	}{
		"no kernel given":      {func(c *Config) { c.Kernel = "" }, "no kernel given"},
		"no initramfs given":   {func(c *Config) { c.Initrd = "" }, "no initramfs given"},
		"kernel missing":       {func(c *Config) { c.Kernel = "/nowhere/vmlinux" }, "kernel: open /nowhere/vmlinux: no such file or directory"},
		"kernel empty":         {func(c *Config) { c.Kernel = kernel("") }, "is empty"},
		"kernel a directory":   {func(c *Config) { c.Kernel = "/" }, "kernel / is not a regular file"},
		"initramfs missing":    {func(c *Config) { c.Initrd = "/nowhere/initrd" }, "initramfs: open /nowhere/initrd: no such file or directory"},
		"memory negative":      {func(c *Config) { c.MemoryMiB = -1 }, "none may be negative"},
		"accelerator":          {func(c *Config) { c.Accelerator = "hvf" }, `unknown accelerator "hvf"`},
		"console":              {func(c *Config) { c.ConsolePath = "/nowhere/console" }, "console: open /nowhere/console: no such file or directory"},
		"console a device":     {func(c *Config) { c.ConsolePath = "/dev/null" }, "console /dev/null is not a regular file"},
		"QEMU not executable":  {func(c *Config) { c.QEMU = kernel("x") }, "permission denied"},
		"QEMU not a program":   {func(c *Config) { c.QEMU = script(""); os.WriteFile(c.QEMU, []byte("x"), 0o755) }, "exec format error"},
		"QEMU refuses":         {func(c *Config) { c.QEMU = script("echo starting; echo no such machine >&2; exit 1") }, "start guest: QEMU failed: no such machine"},
		"QEMU ends in silence": {func(c *Config) { c.QEMU = script("exit 3") }, "start guest: QEMU failed: exit status 3"},
		"QEMU is killed":       {func(c *Config) { c.QEMU = script("kill -9 $$") }, "start guest: QEMU was killed: signal 9 (killed)"},
		"QEMU leaves a child":  {func(c *Config) { c.QEMU = script("sleep 1000 & exit 3") }, "start guest: QEMU failed: exit status 3"},
		"QEMU speaks no QMP":   {func(c *Config) { c.QEMU = script("echo hello >&3; sleep 1000") }, "start guest: QEMU failed: QMP greeting: invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			test.spoil(&config)
			nothingLeft(t)
			_, err := Start(t.Context(), config)
			assert.ErrorContains(t, err, test.want)
		})
	}

	t.Run("QEMU missing", func(t *testing.T) {
		config := good
		config.QEMU = "qemu-that-is-not-there"
		_, err := Start(t.Context(), config)
		var missing *MissingQEMUError
		assert.Assert(t, errors.As(err, &missing), "error: %v", err)
		assert.Error(t, err, `qemu-that-is-not-there not found: run "make setup" or install the Debian package `+platforms[arch.Native].QEMUPackage)
	})

	t.Run("cancelled", func(t *testing.T) {
		config := good
		config.QEMU = script("sleep 1000")
		nothingLeft(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by the user")
		time.AfterFunc(50*time.Millisecond, func() { cancel(stopped) })
		_, err := Start(ctx, config)
		assert.ErrorIs(t, err, stopped)
	})
}

func TestQEMUWithoutPanicDevice(t *testing.T) {
	calls, started := filepath.Join(t.TempDir(), "calls"), filepath.Join(t.TempDir(), "started")
	qemu := filepath.Join(t.TempDir(), "qemu")
	body := `#!/bin/sh
echo "$*" >>` + calls + `
case "$*" in
*pvpanic-pci*) echo "-device pvpanic-pci: 'pvpanic-pci' is not a valid device model name" >&2; exit 1;;
esac
printf '{"QMP": {}}\n' >&3
read -r line <&3
printf '{"return": {}, "id": 1}\n' >&3
until [ -e ` + started + ` ]; do sleep 0.01; done
printf '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\n' >&3
`
	assert.NilError(t, os.WriteFile(qemu, []byte(body), 0o755))
	file := filepath.Join(t.TempDir(), "file")
	assert.NilError(t, os.WriteFile(file, []byte("x"), 0o644))

	guest := boot(t, t.Context(), Config{QEMU: qemu, Kernel: file, Initrd: file, Accelerator: accel.TCG})
	assert.NilError(t, os.WriteFile(started, nil, 0o644)) // if it ended earlier, Start would fail
	assert.Equal(t, guest.Wait().Reason, PoweredOff)
	data, err := os.ReadFile(calls)
	assert.NilError(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	assert.Equal(t, len(lines), 2)
	assert.Equal(t, lines[1], strings.Join(guest.CommandLine()[1:], " "))
}

func TestRealQEMURefuses(t *testing.T) {
	config := guestConfig(t)
	config.Kernel = config.Initrd // a cpio archive
	nothingLeft(t)
	_, err := Start(t.Context(), config)
	assert.ErrorContains(t, err, "start guest: QEMU failed: ")
	t.Log(err)
}

// BenchmarkBoot measures a guest's life up to its first byte on the port. s/boot is the time from
// QEMU's start to that byte; cpu-s/boot is the processor time, which depends little on the load of
// the host.
func BenchmarkBoot(b *testing.B) {
	config := guestConfig(b)
	var booting, cpu time.Duration
	for b.Loop() {
		guest, err := Start(b.Context(), config)
		assert.NilError(b, err)
		assert.NilError(b, guest.Do(b.Context(), func(port *Port) error {
			_, err := ask(port, "")
			return err
		}))
		booting += guest.BootTime()
		assert.NilError(b, guest.Close())
		qemu := guest.proc.cmd.ProcessState
		cpu += qemu.UserTime() + qemu.SystemTime()
	}
	b.ReportMetric(booting.Seconds()/float64(b.N), "s/boot")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/boot")
}

// A kernel that fails before it has a driver for its console still prints why, and no clock has to
// expire.
func TestEarlyPanic(t *testing.T) {
	config := guestConfig(t)
	nothingLeft(t)
	config.Params = []string{"mem=24M"}
	config.BootTimeout = Endless
	guest, err := Start(t.Context(), config)
	assert.NilError(t, err)
	defer guest.Close()
	ending := guest.Wait()
	assert.Equal(t, ending.Reason, Panicked)
	assert.Assert(t, is.Contains(ending.Cause, "Kernel panic - not syncing"))
	assert.Assert(t, len(ending.Console) > 0)
}

// A configuration that cannot boot is refused without starting a guest.
func TestRefusedBeforeBoot(t *testing.T) {
	config := guestConfig(t)
	nothingLeft(t)
	small := config
	small.MemoryMiB = 24
	_, err := Start(t.Context(), small)
	assert.ErrorContains(t, err, "a guest with 24 MiB of memory: its kernel and the files that it begins with take ")
	long := config
	maxKernelLine := platforms[arch.Native].maxLine
	long.Params = []string{"testguest.x=" + strings.Repeat("x", maxKernelLine)}
	_, err = Start(t.Context(), long)
	assert.ErrorContains(t, err, fmt.Sprintf("and a kernel takes %d", maxKernelLine))
	// The kernel reads the longest accepted command line to its end.
	kernelLine := func() string {
		full, err := config.withDefaults()
		assert.NilError(t, err)
		return full.kernelLine(full.options(accel.TCG, inherited(3, 4, 5), false))
	}
	fill := maxKernelLine - len(kernelLine()) - len(" testguest.x=")
	config.Params = []string{"testguest.x=" + strings.Repeat("x", fill)}
	guest, err := Start(t.Context(), config)
	assert.NilError(t, err)
	defer guest.Close()
	assert.NilError(t, guest.Do(t.Context(), func(p *Port) error {
		_, err := bufio.NewReader(p).ReadString('\n')
		return err
	}))
	assert.Equal(t, len(kernelLine()), maxKernelLine)
}
