package agent

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to run in the guest.
type Command struct {
	Path string   `json:"path"`
	Args []string `json:"args"` // the first is what the program is called
	Dir  string   `json:"dir"`  // working directory
	Env  []string `json:"env,omitempty"`
}

// Output answers a Command, many times: what the program writes, as it writes
// it, and at last how it ended.
type Output struct {
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Ended  *Ended `json:"ended,omitempty"`
}

// Ended is how a program came to its end.
type Ended struct {
	Status int            `json:"status"`           // exit status
	Signal syscall.Signal `json:"signal,omitempty"` // that ended it, if one did
	Error  string         `json:"error,omitempty"`  // why it did not start
}

// execute runs a program and sends what it writes. An error means that the host
// cannot be reached, or that this guest is not fit for programs.
func execute(c *Conn, command *Command) error {
	if err := loadModules(func(string) bool { return true }); err != nil {
		return err
	}
	if err := furnish(); err != nil {
		return err
	}
	return runCommand(c, command)
}

// openFiles is how many files a program may have open, as systemd has it. The
// kernel gives PID 1 less.
var openFiles = unix.Rlimit{Cur: 1024, Max: 512 << 10}

// furnish sets up what programs expect and loads do not need.
func furnish() error {
	// Without debugfs a kernel has nothing there to be seen.
	if err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, ""); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount debugfs: %w", err)
	}
	if err := os.Chmod("/tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &openFiles); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// loopbackUp switches on the loopback interface, upon which the kernel gives it
// its addresses.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// linger is how long what a program has started may hold its output open after
// it has ended.
const linger = 5 * time.Second

func runCommand(c *Conn, command *Command) error {
	var mu sync.Mutex
	send := func(o *Output) error {
		mu.Lock()
		defer mu.Unlock()
		return c.Send(o)
	}
	stdout, toStdout, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, toStderr, err := os.Pipe()
	if err != nil {
		toStdout.Close()
		return err
	}
	defer stderr.Close()
	pid, err := start(command, toStdout, toStderr)
	toStdout.Close()
	toStderr.Close()
	if err != nil {
		return send(&Output{Ended: &Ended{Error: err.Error()}})
	}
	var pumps sync.WaitGroup
	var sent [2]error
	pumps.Go(func() { sent[0] = pump(stdout, func(b []byte) error { return send(&Output{Stdout: b}) }) })
	pumps.Go(func() { sent[1] = pump(stderr, func(b []byte) error { return send(&Output{Stderr: b}) }) })
	ended, err := await(pid)
	if err != nil {
		return err
	}
	end := time.Now().Add(linger)
	_, _ = stdout.SetReadDeadline(end), stderr.SetReadDeadline(end)
	pumps.Wait()
	if err := errors.Join(sent[:]...); err != nil {
		return err
	}
	return send(&Output{Ended: ended})
}

func start(command *Command, stdout, stderr *os.File) (pid int, err error) {
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer stdin.Close()
	p, err := os.StartProcess(command.Path, command.Args, &os.ProcAttr{
		Dir: command.Dir, Env: command.Env, Files: []*os.File{stdin, stdout, stderr},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	pid = p.Pid
	return pid, p.Release() // await waits for it
}

// pump sends what can be read.
func pump(r *os.File, send func([]byte) error) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end, or the deadline
		}
	}
}

// await waits for a child. Of others that end meanwhile, whose parents have left
// them to PID 1, it makes an end.
func await(pid int) (*Ended, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && got != pid:
		case err != nil:
			return nil, fmt.Errorf("wait for process %d: %w", pid, err)
		case status.Signaled():
			return &Ended{Signal: status.Signal()}, nil
		default:
			return &Ended{Status: status.ExitStatus()}, nil
		}
	}
}
