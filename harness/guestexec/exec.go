package guestexec

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Command is a program of this machine to run in a guest.
type Command struct {
	Program string   // path of an ELF file; its shared libraries come along
	Args    []string // Args[0] is the program's name
	Dir     string   // working directory, absolute; in the guest it holds only what With names
	Env     []string // NAME=VALUE
	With    []string // files and directories that the program needs: see guestFiles
	Get     []string // files and directories to copy back to the same paths when the program has ended
	// GetMore are directories from which new files are copied back. Files that exist on this
	// machine are not overwritten. A directory may be missing.
	GetMore []string
	Dirs    []string // empty directories to create
	Modules []string // modules of the kernel to load first
	Certs   [][]byte // certificates (X.509, DER) to add to the program's user keyring

	// HostRoot gives the program this machine's root directory instead of named files. The program
	// sees this machine's files as they are now; what it writes stays in the guest's memory.
	// Program may then be a script.
	HostRoot bool
	Shares

	// Stdin is read while the program runs, and possibly once more after it has ended. Nil means no
	// input. Prefer an *os.File.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // receive output as the program writes it
	// OneOutput sends standard error to Stdout, too, in the order in which the program writes.
	OneOutput bool
	// Signals are forwarded to the program. It may be nil.
	Signals <-chan syscall.Signal
	// Console receives the console output of the guest's kernel as it comes. It may be nil.
	Console io.Writer
	// AllowSplats turns complaints of the guest's kernel while the program runs from an error into
	// a note.
	AllowSplats bool
	// Terminal, if not nil, gives the program a terminal as standard input, output and error. It is
	// called once the guest is ready.
	Terminal func() (*Terminal, error)

	MemoryMiB int           // of the guest; 0 for 1 GiB and room for the files
	CPUs      int           // of the guest; 0 for [github.com/bpfreplay/bpfreplay/harness/accel.Accelerator.CPUs]
	Timeout   time.Duration // of the program, without the boot; 0 for DefaultExecTimeout, negative for none
}

// Terminal describes the terminal of a program. Output goes to Command.Stdout, input comes from
// Command.Stdin.
type Terminal struct {
	Size    wire.Size
	Resized <-chan wire.Size // new sizes; nil if the size does not change
}

// DefaultExecTimeout equals the default timeout of `go test`.
const DefaultExecTimeout = 10 * time.Minute

// execMemory is the memory of a guest for a program, in MiB, without the memory for its files.
const execMemory = 1024

// Exec runs a program in a guest and returns its exit status. If a signal ends the program, the
// status is 128 plus the signal's number. An error means that the program did not end by itself, or
// that its files could not be copied back. It is a *vm.Ending if the guest ended first, and a
// *HangError if the program took too long. It is a *SplatError if the program succeeded but the
// guest's kernel complained meanwhile.
func Exec(ctx context.Context, c Command, on guest.Config) (status int, err error) {
	c.Timeout = cmp.Or(c.Timeout, DefaultExecTimeout)
	s, err := c.session(on.Kernel.Arch)
	if err != nil {
		return 0, err
	}
	return s.run(ctx, on)
}

// session returns a session that runs the program in a guest of the architecture `of`.
func (c *Command) session(of string) (*session, error) {
	program, err := filepath.Abs(c.Program)
	if err != nil {
		return nil, err
	}
	get, err := newGetter(c.Get, c.GetMore)
	if err != nil {
		return nil, err
	}
	s := &session{
		command: wire.Command{Path: program, Args: c.Args, Dir: c.Dir, Env: c.Env, Certs: c.Certs},
		modules: c.Modules, hostRoot: c.HostRoot, shares: c.Shares,
		stdin: c.Stdin, stdout: c.Stdout, stderr: c.Stderr, terminal: c.Terminal, get: get,
		oneOutput: c.OneOutput, signals: c.Signals, console: c.Console, splats: c.AllowSplats,
		memory: cmp.Or(c.MemoryMiB, execMemory), cpus: c.CPUs, timeout: max(c.Timeout, 0),
	}
	if c.HostRoot {
		if len(c.With) > 0 {
			return nil, fmt.Errorf("%s: with this machine's root there is nothing to take along", c.With[0])
		}
		if err := checkGuestPath(program); err != nil {
			return nil, err
		}
		return s, nil
	}
	files, err := c.files(of)
	if err != nil {
		return nil, err
	}
	s.command.Env = append(libraryPath(c.Env), c.Env...)
	if sizeOf(files) <= sendLimit {
		s.sent, s.reusable = files, true
		return s, nil
	}
	s.files = files
	if c.MemoryMiB == 0 {
		s.memory += memoryFor(files)
	}
	return s, nil
}
