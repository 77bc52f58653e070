package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/accel"
)

const (
	// launchTimeout is how long QEMU may take to answer on QMP. It usually takes 50 ms.
	launchTimeout = 30 * time.Second
	// tick is how often the clocks are checked.
	tick = 50 * time.Millisecond
	// nmiGrace is how long a hung guest gets to print its backtrace. It needs 10 to 100 ms of
	// processor time.
	nmiGrace = 5 * time.Second
	// panicGrace is how long the machine may still run after the kernel has printed its panic.
	panicGrace = time.Second
	// exitGrace is how long QEMU may still run after it has closed its end of the port.
	exitGrace = 2 * time.Second
)

// VM is one guest. Its methods may be called concurrently.
type VM struct {
	config      Config
	platform    *platform
	accelerator accel.Choice
	saved       *opened // the saved guest to restore; nil for a boot
	argv        []string
	ctx         context.Context
	started     time.Time

	proc    *process
	qmp     *qmp
	port    *Port
	console *console

	resumed chan struct{} // closed on QEMU's RESUME event

	waiting  atomic.Int64 // calls of Do under way
	activity atomic.Int64 // when its first byte was read, same unit; 0: not yet
	booted   atomic.Int64 // when its first byte was read from the port, same unit; 0: not yet

	interrupting sync.Mutex // held while the guest is made to print its backtrace

	mu       sync.Mutex
	evidence evidence
	runs     bool // resumed is closed

	done   chan struct{}
	ending *Ending // set before done is closed
}

// Start starts QEMU and returns when it runs; the guest boots in the background. It fails if QEMU
// is not installed ([MissingQEMUError]), a file is missing, KVM was asked for and is not usable
// ([accel.ErrUnusable]), or QEMU refuses the machine or the kernel; then the error has QEMU's own
// words.
//
// The guest lives until it ends by itself, ctx is done, or Close is called. The caller must call
// Close in any case to release its resources.
func Start(ctx context.Context, config Config) (*VM, error) {
	return start(ctx, config, nil)
}

// start boots a guest, or restores it if saved is not nil.
func start(ctx context.Context, config Config, saved *opened) (*VM, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if saved == nil {
		if err := config.bootable(); err != nil {
			return nil, err
		}
	}
	qemu, err := config.findQEMU()
	if err != nil {
		return nil, err
	}
	choice, err := accel.Choose(ctx, config.Arch, config.Accelerator, config.StateDir)
	if err != nil {
		return nil, err
	}
	vm := &VM{config: config, platform: config.platform(), accelerator: choice, saved: saved}

	// The cheapest way to find out whether this QEMU has the panic device is to use it. A QEMU
	// older than 6.0 refuses within 20 ms, once; listing its devices takes 80 ms every time.
	err = vm.launch(ctx, qemu, vm.platform.panicDevice)
	if err != nil && refusesPanicDevice(err) {
		err = vm.launch(ctx, qemu, false)
	}
	if err != nil {
		return nil, err
	}
	go vm.watch()
	return vm, nil
}

// refusalError means that QEMU ended before it answered on QMP.
type refusalError struct{ ending *Ending }

func (e *refusalError) Error() string { return "start guest: " + e.ending.Error() }
func (e *refusalError) Unwrap() error { return e.ending }

func refusesPanicDevice(err error) bool {
	var refusal *refusalError
	return errors.As(err, &refusal) && refusal.ending.Reason == Failed &&
		(strings.Contains(refusal.ending.QEMU, "pvpanic-pci") || strings.Contains(refusal.ending.QEMU, "-action"))
}

// launch starts QEMU and waits until it answers on QMP. On failure it releases everything.
func (vm *VM) launch(ctx context.Context, qemu string, panicDevice bool) error {
	if err := vm.spawn(ctx, qemu, panicDevice); err != nil {
		return err
	}
	go vm.finish()
	return vm.greet(ctx)
}

// spawn starts QEMU and connects it to this process.
func (vm *VM) spawn(ctx context.Context, qemu string, panicDevice bool) (err error) {
	// The child's ends are closed in any case, so that ours see the end of file when QEMU exits.
	var theirs, ours []io.Closer
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()

	vm.console, err = openConsole(vm.config.ConsolePath)
	if err != nil {
		return err
	}
	ours = append(ours, vm.console.file)
	if vm.saved != nil {
		if _, err := vm.console.file.Write(vm.saved.console); err != nil {
			return fmt.Errorf("console: %w", err)
		}
	}
	qmpOurs, qmpTheirs, err := socketPair("qmp")
	if err != nil {
		return err
	}
	ours, theirs = append(ours, qmpOurs), append(theirs, qmpTheirs)
	portOurs, portTheirs, err := socketPair("port")
	if err != nil {
		return err
	}
	ours, theirs = append(ours, portOurs), append(theirs, portTheirs)

	// The child's first inherited file is descriptor 3.
	files := []*os.File{qmpTheirs, portTheirs, vm.console.file}
	wires := inherited(3, 4, 5)
	memory, err := vm.memoryFile()
	if err != nil {
		return err
	}
	if memory != nil {
		if vm.saved == nil {
			theirs = append(theirs, memory)
		}
		files = append(files, memory)
		wires.memory = savedMemory(6, vm.saved == nil)
		wires.incoming = vm.saved != nil
	}
	inherit := func(f *os.File) string {
		files = append(files, f)
		return fmt.Sprintf("socket,fd=%d", 2+len(files))
	}
	if vm.platform.how.input() {
		wires.console = terminal(5)
	}
	if vm.saved == nil && vm.config.InitrdFile != nil {
		files = append(files, vm.config.InitrdFile)
		wires.initrd = fmt.Sprintf("/proc/self/fd/%d", 2+len(files))
	}
	if len(vm.config.Filesystems) > 0 {
		if memory != nil {
			return errors.New("a guest with a file system of this machine cannot be saved")
		}
		if memory, err = memoryInMemory(vm.config.MemoryMiB); err != nil {
			return err
		}
		theirs, files = append(theirs, memory), append(files, memory)
		wires.memory = savedMemory(2+len(files), true)
		for _, fs := range vm.config.Filesystems {
			wires.filesystems = append(wires.filesystems, filesystem{tag: fs.Tag, chardev: inherit(fs.Socket)})
		}
	}
	if vm.config.Debugger != nil {
		wires.debugger = inherit(vm.config.Debugger) + ",server=on,wait=off"
	}
	args := vm.config.commandLine(vm.accelerator.Accelerator, wires, panicDevice)
	started := time.Now()
	proc, err := startProcess(qemu, args, files)
	if err != nil {
		return err
	}
	vm.argv = append([]string{qemu}, args...)
	vm.ctx = ctx
	vm.started = started
	vm.proc = proc
	vm.evidence = evidence{foundBy: vm.platform.how.words()}
	vm.done = make(chan struct{})
	vm.resumed, vm.runs = make(chan struct{}), false
	vm.port = &Port{file: portOurs, vm: vm}
	vm.qmp = newQMP(qmpOurs, vm.observe)
	return nil
}

// memoryInMemory returns a memfd for a guest's memory, which other processes can map.
func memoryInMemory(mib int) (*os.File, error) {
	fd, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory of the guest: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	if err := f.Truncate(int64(mib) << 20); err != nil {
		f.Close()
		return nil, fmt.Errorf("memory of the guest: %w", err)
	}
	return f, nil
}

func closeAll(files []io.Closer) {
	for _, f := range files {
		f.Close()
	}
}

// greet waits for QEMU's first answer. If none comes in time, it ends QEMU.
func (vm *VM) greet(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, launchTimeout)
	defer cancel()
	err := vm.qmp.handshake(limited)
	if err == nil && vm.saved != nil {
		err = vm.resume(limited)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && !errors.Is(err, errQMPClosed) {
		vm.end(Failed, err.Error())
	}
	ending := vm.expectEnd()
	if err := vm.Close(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("start guest: %w", context.Cause(ctx))
	}
	return &refusalError{ending}
}

func (vm *VM) observe(ev qmpEvent) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	vm.evidence.observe(ev)
	if ev.Name == "RESUME" && !vm.runs {
		vm.runs = true
		close(vm.resumed)
	}
}

// finish waits for QEMU to exit, for whatever reason, and composes the ending.
func (vm *VM) finish() {
	<-vm.proc.exited
	lived := time.Since(vm.started)

	// The other end is closed, so this only reads what is still in the socket.
	select {
	case <-vm.qmp.ended:
	case <-time.After(exitGrace):
	}
	vm.qmp.close()
	vm.console.poll()

	vm.mu.Lock()
	defer vm.mu.Unlock()
	e := &vm.evidence
	e.console = vm.console.look()
	e.status = vm.proc.cmd.ProcessState
	e.stderr = vm.proc.text()
	reason, cause := e.judge()
	vm.ending = &Ending{
		Reason:  reason,
		Cause:   cause,
		Console: e.console.last,
		Splats:  e.console.splats,
		QEMU:    e.stderr,
		Lived:   lived,
	}
	close(vm.done)
}

// watch runs the clocks until the guest ends.
func (vm *VM) watch() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var panicked time.Time
	for {
		select {
		case <-vm.done:
			return
		case <-vm.ctx.Done():
			vm.end(Cancelled, context.Cause(vm.ctx).Error())
			return
		case <-ticker.C:
		}

		if vm.console.poll() {
			vm.activity.Store(int64(time.Since(vm.started)))
		}
		if panicked.IsZero() && vm.console.look().panicEnded {
			panicked = time.Now()
		}
		switch {
		case !panicked.IsZero() && time.Since(panicked) > panicGrace:
			vm.end(Panicked, vm.console.look().panic)
		case vm.console.size() > MaxConsole:
			vm.end(Flooded, fmt.Sprintf("more than %d MiB", MaxConsole>>20))
		case vm.overdueBoot():
			cause := fmt.Sprintf("nothing on the port after %s", vm.config.BootTimeout)
			if vm.console.size() == 0 {
				cause += ", and nothing on the console: is the kernel one for this machine?"
			}
			vm.end(NoBoot, cause)
		case vm.silentTooLong():
			vm.end(Silent, fmt.Sprintf("no sign of life for %s", vm.config.SilenceTimeout))
		}
	}
}

func (vm *VM) overdueBoot() bool {
	if vm.booted.Load() != 0 || time.Since(vm.started) < vm.config.BootTimeout {
		return false
	}
	if vm.port.readable() {
		vm.heard() // booted; the caller has not read yet
		return false
	}
	return true
}

func (vm *VM) silentTooLong() bool {
	if vm.waiting.Load() == 0 || vm.booted.Load() == 0 {
		return false
	}
	last := time.Duration(vm.activity.Load())
	return time.Since(vm.started)-last > vm.config.SilenceTimeout
}

// heard records that the guest has sent something on the port.
func (vm *VM) heard() {
	now := int64(time.Since(vm.started))
	vm.activity.Store(now)
	vm.booted.CompareAndSwap(0, now)
}

// end ends the guest for the given reason, unless it is ending already. It returns once QEMU has
// been killed. A hung guest gets time to print a backtrace first.
func (vm *VM) end(reason Reason, cause string) {
	vm.mu.Lock()
	e := &vm.evidence
	first := e.ours == "" && e.shutdown == "" && !e.panicEvent
	if first {
		e.ours, e.oursCause = reason, cause
	}
	vm.mu.Unlock()

	if reason.Hang() {
		if !first {
			vm.awaitExit(nmiGrace) // another caller's backtrace is under way
		} else {
			vm.interrupt()
		}
	}
	vm.proc.kill()
}

// awaitExit waits for QEMU to exit, the context or the time to run out.
func (vm *VM) awaitExit(patience time.Duration) {
	select {
	case <-vm.proc.exited:
	case <-vm.ctx.Done():
	case <-time.After(patience):
	}
}

// expectEnd waits for a guest whose end has begun and returns its ending. It kills a guest that
// lingers.
func (vm *VM) expectEnd() *Ending {
	select {
	case <-vm.done:
	case <-vm.ctx.Done():
		vm.end(Cancelled, context.Cause(vm.ctx).Error())
	case <-time.After(exitGrace + nmiGrace):
		vm.end(Failed, "QEMU closed the port and did not exit")
	}
	<-vm.done
	return vm.ending
}

// Do calls fn, which sends the guest a request and waits for the answer.
//
// While fn runs, the silence clock and ctx apply: the guest is ended as [Overdue] at the deadline
// of ctx, or when ctx is cancelled with a cause that is a [context.DeadlineExceeded], and as
// [Cancelled] when ctx is cancelled otherwise. An abandoned request cannot be taken back, so
// the guest cannot be used any further. If the guest ended before fn was done, for this or any
// other reason, Do returns its [*Ending]. Otherwise it returns the result of fn.
func (vm *VM) Do(ctx context.Context, fn func(*Port) error) error {
	vm.activity.Store(int64(time.Since(vm.started)))
	vm.waiting.Add(1)
	defer vm.waiting.Add(-1)

	stop := context.AfterFunc(ctx, func() {
		switch cause := context.Cause(ctx); {
		case cause == context.DeadlineExceeded:
			vm.end(Overdue, "no answer by the deadline")
		case errors.Is(cause, context.DeadlineExceeded):
			vm.end(Overdue, cause.Error())
		default:
			vm.end(Cancelled, cause.Error())
		}
	})
	err := fn(vm.port)
	if !stop() {
		<-vm.done
		return vm.ending
	}
	if err == nil {
		return nil
	}
	if ending := vm.Ending(); ending != nil {
		return ending
	}
	return err
}

// Port returns the host's end of the port. It belongs to the VM and is closed by Close.
func (vm *VM) Port() *Port { return vm.port }

// Done returns a channel that is closed when the guest has ended.
func (vm *VM) Done() <-chan struct{} { return vm.done }

// Ending returns how the guest ended, or nil while it lives.
func (vm *VM) Ending() *Ending {
	select {
	case <-vm.done:
		return vm.ending
	default:
		return nil
	}
}

// Wait waits for the guest's end and returns it.
func (vm *VM) Wait() *Ending {
	<-vm.done
	return vm.ending
}

// Close ends the guest if it lives, waits until QEMU is gone, and releases the port and the
// console. It may be called more than once.
func (vm *VM) Close() error {
	vm.end(Closed, "")
	<-vm.done
	// Wait until interrupt has released the console's terminal.
	vm.interrupting.Lock()
	defer vm.interrupting.Unlock()
	err := errors.Join(vm.port.Close(), ignoreClosed(vm.console.close()), ignoreClosed(vm.proc.output.Close()))
	if err != nil {
		return fmt.Errorf("close guest: %w", err)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Accelerator returns the accelerator that runs the guest, and why it is this one.
func (vm *VM) Accelerator() accel.Choice { return vm.accelerator }

// Kill kills QEMU from outside, as tests do. The guest ends as [Killed].
func (vm *VM) Kill() { vm.proc.kill() }

// CommandLine returns QEMU's path and arguments, exactly as it was started. Descriptors 3 to 5 are
// inherited.
func (vm *VM) CommandLine() []string { return slices.Clone(vm.argv) }

// BootTime returns the time from QEMU's start until the caller read the guest's first byte from the
// port, or 0 if it has not yet.
func (vm *VM) BootTime() time.Duration { return time.Duration(vm.booted.Load()) }

// Splats returns the complaints that the guest's kernel has printed so far. The console lags behind
// the port, and a kernel may hold back a message until the next one (observed on 6.17). Only the
// Ending of a guest that was told to power off is complete.
func (vm *VM) Splats() []Splat {
	if ending := vm.Ending(); ending != nil {
		return slices.Clone(ending.Splats)
	}
	vm.console.poll()
	return vm.console.look().splats
}
