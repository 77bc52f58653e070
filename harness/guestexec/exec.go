package guestexec

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Command is a program of this machine that is to run in a guest.
type Command struct {
	Program string   // path: an ELF file, which finds its shared libraries in the guest
	Args    []string // the first is what the program is called
	Dir     string   // absolute; the guest has it at the same path, with only what With names
	Env     []string // NAME=VALUE
	With    []string // files and directories that it needs: see guestFiles
	Get     []string // files and directories that it leaves, to be copied to the same paths here
	// GetMore are directories in which it may leave files. Files that are new are copied to the same paths; a
	// directory may be missing.
	GetMore []string
	Dirs    []string // empty directories that it needs
	Modules []string // modules of the kernel to load before it
	Certs   [][]byte // certificates (X.509, DER) for the user keyring that it has there

	// HostRoot gives the program this machine's root directory instead of files by
	// name. It reads what is there now, and what it writes stays in the guest's
	// memory. Program may then be a script, too.
	HostRoot bool
	Shares

	// Stdin is read as long as the program runs, and perhaps once more; nil for no
	// input. An *os.File is best.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // what it writes, as it writes it
	// OneOutput: all that it writes goes to Stdout, in the order in which it is written.
	OneOutput bool
	// Signals are sent to it as they come; nil for none.
	Signals <-chan syscall.Signal
	// Console receives the output of the guest's kernel as it comes. It may be nil.
	Console io.Writer
	// AllowSplats: a complaint of the guest's kernel while the program runs is a note, not
	// an error.
	AllowSplats bool
	// Terminal, if not nil, is called when the guest is ready, and gives the program
	// a terminal as its standard input, output and error.
	Terminal func() (*Terminal, error)

	MemoryMiB int           // of the guest; 0 for what files need, and 1 GiB
	CPUs      int           // of the guest; 0 for [vm.Accelerator.CPUs]
	Timeout   time.Duration // of the program alone; 0 for DefaultExecTimeout, negative for none
}

// Terminal describes the terminal of a program. Its output goes to Command.Stdout, and its
// input comes from Command.Stdin.
type Terminal struct {
	Size    wire.Size
	Resized <-chan wire.Size // nil if it stays as it is
}

// DefaultExecTimeout is as long as `go test` lets a package's tests run.
const DefaultExecTimeout = 10 * time.Minute

// execMemory is what a guest for a program gets, in MiB, besides the memory for
// its files.
const execMemory = 1024

// Exec runs a program in a guest and returns its exit status; 128 and the signal's
// number if a signal ends it. An error means that the program did not end by itself, or that
// its files could not be copied back: a *vm.Ending if the guest ended first, a *HangError if
// the program took too long, and a *SplatError if the guest's kernel complained while the
// program ran and the program ended well.
func Exec(ctx context.Context, c Command, on guest.Config) (status int, err error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultExecTimeout
	}
	s, err := c.session(on.Kernel.Arch)
	if err != nil {
		return 0, err
	}
	return s.run(ctx, on)
}

// session is the program with its files, for a guest of an architecture.
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
		memory: c.MemoryMiB, cpus: c.CPUs, timeout: max(c.Timeout, 0),
	}
	if s.memory == 0 {
		s.memory = execMemory
	}
	if c.HostRoot {
		if len(c.With) > 0 {
			return nil, fmt.Errorf("%s: with this machine's root there is nothing to take along", c.With[0])
		}
		if err := covered(program); err != nil {
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
		s.sent, s.likely = files, true
		return s, nil
	}
	s.files = files
	if c.MemoryMiB == 0 {
		s.memory += memoryFor(files)
	}
	return s, nil
}
