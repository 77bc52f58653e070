package guestexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// session is one program in a guest of its own, with its inputs and outputs.
type session struct {
	command  wire.Command
	base     []initramfs.File // in the initramfs: files that other sessions have, too
	files    []initramfs.File // in the initramfs: files of this session
	sent     []initramfs.File // files of this session that are sent to the guest when it is ready
	modules  []string
	first    guest.Preloaded
	hostRoot bool
	shares   Shares
	// reusable means that later sessions will probably use the same initramfs, so the guest is
	// worth saving.
	reusable bool

	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       func() (*Terminal, error)
	get            *getter

	signals   <-chan syscall.Signal // for the program
	oneOutput bool
	// splats allows complaints of the guest's kernel: see Command.AllowSplats.
	splats  bool
	console io.Writer // see Command.Console

	memory, cpus int           // of the guest; memory is in MiB
	timeout      time.Duration // of the program; 0 for none
}

// signalStatus is added to the number of the signal that ends a program, as shells do.
const signalStatus = 128

// run starts a guest and runs the program in it: see Exec.
func (s *session) run(ctx context.Context, c guest.Config) (status int, err error) {
	c.Defaults()
	if err := c.SetAgent(); err != nil {
		return 0, err
	}
	if s.cpus == 0 {
		choice, err := accel.Choose(ctx, c.Kernel.Arch, c.Accelerator, c.StateDir)
		if err != nil {
			return 0, err
		}
		s.cpus = choice.Accelerator.CPUs(runtime.NumCPU())
	}
	serving, err := s.serve(&c)
	if err != nil {
		return 0, err
	}
	defer serving.close()
	m, err := s.guest(ctx, &c, serving)
	if err != nil {
		return 0, serving.blame(err)
	}
	defer m.VM.Close()
	stopConsole := follow(s.console, m.VM)
	defer stopConsole()
	limited := ctx
	if s.timeout > 0 && c.Debugger == nil {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.timeout+hangTime)
		defer cancel()
	}
	var ended *wire.Ended
	err = m.VM.Do(limited, func(*vm.Port) (err error) {
		if c.Debugger != nil {
			s.timeout = 0
		}
		ended, err = s.talk(limited, m.Conn)
		return err
	})
	var ending *vm.Ending
	var hang *HangError
	if errors.As(err, &hang) {
		return 0, hang
	}
	if errors.As(err, &ending) && ending.Reason == vm.Overdue {
		return 0, fmt.Errorf("%s has not ended within %s: %w", s.command.Args[0], s.timeout, err)
	}
	if err != nil {
		return 0, serving.blame(err)
	}
	said := m.Listen(wire.ExecName, true)
	for _, s := range slices.Concat(said.Late, said.Splats) {
		c.Note(fmt.Sprintf("the guest's kernel complained (%s): %s", s.Kind, s.Line))
	}
	switch {
	case ended.Error != "":
		return 0, fmt.Errorf("%s does not start in the guest: %s", s.command.Args[0], ended.Error)
	case ended.Signal != 0:
		c.Note(fmt.Sprintf("%s was ended by a signal: %s", s.command.Args[0], ended.Signal))
		status = signalStatus + int(ended.Signal)
	default:
		status = ended.Status
	}
	if ended.GetErr != "" {
		c.Note("not all that was asked for came back: " + ended.GetErr)
	}
	// A program may well run out of memory. That is no fault of the kernel.
	splats := slices.DeleteFunc(said.Splats, func(s vm.Splat) bool { return s.Kind == vm.SplatMemory })
	if err := s.get.finish(); err != nil || status != 0 || s.splats || len(splats) == 0 {
		return status, err
	}
	return 0, &SplatError{Splats: splats, Console: guest.LastLines(said.Console)}
}

// SplatError means that a program succeeded, but the guest's kernel complained while it ran.
type SplatError struct {
	Splats  []vm.Splat
	Console []string // the last lines of the console
}

func (e *SplatError) Error() string {
	return "the guest's kernel complained while the program ran, and the program did not fail: exit status 2; --splats note lets it pass"
}

// HangError means that a program took too long. It tells where the program was waiting.
type HangError struct {
	Name  string
	After time.Duration
	Lines []string // where each process of the guest waits in the kernel
}

func (e *HangError) Error() string {
	return fmt.Sprintf("%s has not ended within %s; in the guest", e.Name, e.After)
}

// hangTime is how long the agent may take to report where a program hangs.
const hangTime = 5 * time.Second

// consoleEvery is how often follow polls the console.
const consoleEvery = 50 * time.Millisecond

// follow copies what the guest's kernel prints to w until the caller calls stop. If w is nil, it
// does nothing.
func follow(w io.Writer, guest *vm.VM) (stop func()) {
	if w == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var at int64
		for last := false; ; {
			text, next := guest.Console(at)
			at = next
			if len(text) > 0 {
				if _, err := w.Write(text); err != nil {
					return
				}
			}
			if last {
				return
			}
			select {
			case <-done:
				last = true
			case <-time.After(consoleEvery):
			}
		}
	}()
	return func() { close(done); <-ended }
}

// guest starts a guest with the program's files and waits until its agent is ready. From then on
// the guest needs nothing of this machine but the shares that serving serves.
func (s *session) guest(ctx context.Context, c *guest.Config, serving *serving) (*guest.Machine, error) {
	initramfs, err := c.Initramfs(s.first, slices.Concat(s.modules, serving.modules), s.base)
	if err != nil {
		return nil, err
	}
	initramfs.Extra = s.files
	from := guest.Source{Config: *c, Initramfs: initramfs, WarmUp: wire.WarmUp{Exec: true}}
	from.Cold = c.Cold || !s.reusable || len(serving.filesystems) > 0 || len(serving.network) > 0
	defer from.Close()
	machine := c.VM(s.memory, s.cpus)
	machine.Filesystems, machine.Network = serving.filesystems, serving.network
	// The program may print nothing until its timeout.
	machine.SilenceTimeout = vm.Endless
	if s.timeout > 0 && c.Debugger == nil {
		machine.SilenceTimeout = 2 * s.timeout
	}
	m, _, err := from.Start(ctx, machine)
	return m, err
}

// talk has the agent run the program, and passes input and output. Once the context is done, it
// does not wait for readers of the program's output.
func (s *session) talk(ctx context.Context, conn *wire.Conn) (*wire.Ended, error) {
	stdout, stderr := newOutput(ctx, s.stdout), newOutput(ctx, s.stderr)
	defer stdout.stop()
	defer stderr.stop()
	command := s.command
	command.Get, command.GetMore = s.get.paths(), s.get.more
	command.OneOutput, command.Times = s.oneOutput, timesOf(slices.Concat(s.files, s.sent))
	var terminal Terminal
	if s.terminal != nil {
		t, err := s.terminal()
		if err != nil {
			return nil, err
		}
		terminal, command.Terminal = *t, &t.Size
	}
	if err := sendCommand(conn, command, s.sent); err != nil {
		return nil, err
	}
	in := newInput(conn)
	defer in.stop()
	go in.pass(s.stdin)
	if terminal.Resized != nil {
		go in.resize(terminal.Resized)
	}
	if s.signals != nil {
		go in.signal(s.signals)
	}
	var hang *HangError
	if s.timeout > 0 {
		timer := time.AfterFunc(s.timeout, func() { _ = in.send(&wire.Input{Hangs: true}) })
		defer timer.Stop()
	}
	for {
		var out wire.Output
		if err := conn.Receive(&out); err != nil {
			return nil, err
		}
		if out.Hangs != nil && hang == nil {
			hang = &HangError{Name: s.command.Args[0], After: s.timeout, Lines: out.Hangs.Lines}
		}
		if hang != nil && (out.Ended != nil || out.Hangs != nil && out.Hangs.Done) {
			return nil, hang
		}
		if err := stdout.write(out.Stdout); err != nil {
			return nil, err
		}
		if err := stderr.write(out.Stderr); err != nil {
			return nil, err
		}
		if err := s.get.take(out.Got); err != nil {
			return nil, err
		}
		if out.Taken {
			in.taken()
		}
		if out.Ended != nil {
			return out.Ended, in.over()
		}
	}
}

// output is a destination of the program's output. A write may block for ever, as to a pipe that
// nobody reads.
type output struct {
	ctx     context.Context
	texts   chan []byte
	results chan error
}

func newOutput(ctx context.Context, w io.Writer) *output {
	o := &output{ctx, make(chan []byte), make(chan error, 1)}
	go func() {
		for text := range o.texts {
			_, err := w.Write(text)
			o.results <- err
		}
	}()
	return o
}

// write passes the text to the writer, which owns it from then on. It returns when the writer has
// written it or the context is done.
func (o *output) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	o.texts <- text
	select {
	case err := <-o.results:
		return err
	case <-o.ctx.Done():
		return context.Cause(o.ctx)
	}
}

// stop lets the goroutine end. A write that still blocks is abandoned.
func (o *output) stop() { close(o.texts) }

// input sends input, signals and terminal sizes to the program in the guest.
type input struct {
	room chan struct{} // one token for each chunk that may be sent ahead
	done chan struct{}

	mu    sync.Mutex
	conn  *wire.Conn
	ended bool
}

func newInput(conn *wire.Conn) *input {
	in := &input{room: make(chan struct{}, wire.Window), done: make(chan struct{}), conn: conn}
	for range wire.Window {
		in.room <- struct{}{}
	}
	return in
}

// send sends a message, unless the program has ended.
func (in *input) send(i *wire.Input) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return io.ErrClosedPipe
	}
	return in.conn.Send(i)
}

// inputChunk is how many bytes are read at once.
const inputChunk = 16 << 10

// pass sends everything that it reads from r, then EOF. It ignores send errors: talk notices that
// the guest has ended.
func (in *input) pass(r io.Reader) {
	if r != nil {
		buf := make([]byte, inputChunk)
		for {
			select {
			case <-in.room:
			case <-in.done:
				return
			}
			n, err := r.Read(buf)
			if n > 0 && in.send(&wire.Input{Data: buf[:n]}) != nil {
				return
			}
			if err != nil {
				break
			}
			if n == 0 {
				in.taken()
			}
		}
	}
	_ = in.send(&wire.Input{EOF: true})
}

// taken returns a token: the agent has taken a chunk.
func (in *input) taken() {
	select {
	case in.room <- struct{}{}:
	default: // the agent reports more chunks than were sent
	}
}

func (in *input) resize(sizes <-chan wire.Size) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok || in.send(&wire.Input{Size: &size}) != nil {
				return
			}
		case <-in.done:
			return
		}
	}
}

func (in *input) signal(signals <-chan syscall.Signal) {
	for {
		select {
		case sig := <-signals:
			if in.send(&wire.Input{Signal: sig}) != nil {
				return
			}
		case <-in.done:
			return
		}
	}
}

// over tells the agent that no more input follows.
func (in *input) over() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	return in.conn.Send(&wire.Input{Over: true})
}

func (in *input) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	close(in.done)
}
