package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/exercise"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// execute runs a program and sends its output. An error means that the host cannot be reached, or
// that the guest cannot run programs.
func execute(c *wire.Conn, command *wire.Command) error {
	if err := fit(); err != nil {
		return err
	}
	if command.HostRoot != "" {
		if err := mountHostRoot(command.HostRoot); err != nil {
			return fmt.Errorf("the host's files: %w", err)
		}
	}
	if command.Network {
		if err := networkUp(); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	return runCommand(c, command)
}

// fit prepares the guest for programs, once.
var fit = sync.OnceValue(func() error {
	if err := loadModules(func(string) bool { return true }); err != nil {
		return err
	}
	return furnish()
})

// openFiles is the limit of open files for programs, with systemd's values. The kernel's limit for
// PID 1 is lower.
var openFiles = unix.Rlimit{Cur: 1024, Max: 512 << 10}

// furnish sets up what programs expect beyond what loads need.
func furnish() error {
	if err := switchRoot("/"); err != nil {
		return err
	}
	// A kernel without debugfs does not have the mount point or the file system type.
	if err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, ""); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount debugfs: %w", err)
	}
	if err := os.MkdirAll("/dev/pts", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666"); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount devpts: %w", err)
	}
	if err := os.MkdirAll("/dev/shm", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	for link, target := range deviceLinks {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, dir := range []string{"/etc", "/root", "/run", "/var/tmp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for path, text := range databases {
		if err := writeMissing(path, text); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &openFiles); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if err := exercise.InterfaceUp("lo"); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// deviceLinks are links that every /dev has, but that the kernel does not create. Shells and C
// programs use them.
var deviceLinks = map[string]string{
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
}

// hostname is the host name of guests.
const hostname = "guest"

// databases are the files in which the C library and Go look up users, groups and host names. A
// file that came from the host is left as it is.
var databases = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost " + hostname + "\n::1 localhost " + hostname + "\n",
	"/etc/hostname":      hostname + "\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}

func writeMissing(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// linger is how long processes that a program has started may keep its output open after the
// program has ended.
const linger = 5 * time.Second

// process is a running program.
type process struct {
	pid    int
	stdin  *os.File   // its standard input, or its terminal
	output []*os.File // its standard output and error, or its terminal alone
}

func (p *process) close() {
	p.stdin.Close()
	for _, f := range p.output {
		f.Close()
	}
}

func runCommand(c *wire.Conn, command *wire.Command) error {
	var mu sync.Mutex
	send := func(o *wire.Output) error {
		mu.Lock()
		defer mu.Unlock()
		return c.Send(o)
	}
	p, err := prepare(c, command)
	if err != nil {
		// The host may already be sending input.
		return errors.Join(send(&wire.Output{Ended: &wire.Ended{Error: err.Error()}}), discardInput(c))
	}
	defer p.close()

	input := make(chan error, 1)
	go func() { input <- feed(c, p, command.Terminal != nil, send) }()

	var pumps sync.WaitGroup
	var sent [2]error
	for i, f := range p.output {
		pumps.Go(func() {
			sent[i] = pump(f, func(b []byte) error {
				if i == 0 {
					return send(&wire.Output{Stdout: b})
				}
				return send(&wire.Output{Stderr: b})
			})
		})
	}
	ended, err := await(p.pid)
	if err != nil {
		return err
	}
	end := time.Now().Add(linger)
	for _, f := range p.output {
		_ = f.SetReadDeadline(end)
	}
	pumps.Wait()
	if err := errors.Join(sent[:]...); err != nil {
		return err
	}
	get := slices.DeleteFunc(slices.Clone(command.Get), func(name string) bool {
		_, err := os.Lstat(name)
		return errors.Is(err, os.ErrNotExist) && slices.Contains(command.GetMore, name)
	})
	if len(get) > 0 {
		if err := sendFiles(get, send); err != nil {
			ended.GetErr = err.Error()
		}
	}
	if err := syncShares(command.Shares); err != nil {
		ended.GetErr = err.Error()
	}
	mark(wire.EndMark + wire.ExecName) // complaints of the kernel about the program precede this mark on the console
	if err := send(&wire.Output{Ended: ended}); err != nil {
		return err
	}
	return <-input
}

// prepare creates the command's files and starts the command.
func prepare(c *wire.Conn, command *wire.Command) (*process, error) {
	if err := makeFiles(c, command.Files); err != nil {
		return nil, err
	}
	for _, t := range command.Times {
		if err := os.Chtimes(t.Path, time.Time{}, t.Modified); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(command.Dir, 0o755); err != nil {
		return nil, err
	}
	for i, cert := range command.Certs {
		if err := keyring.Add(unix.KEY_SPEC_USER_KEYRING, fmt.Sprintf("bpfreplay:%d", i), cert); err != nil {
			return nil, err
		}
	}
	// Mount shares last, so that the files above are not created in a directory of the host.
	if err := mountShares(command.Shares); err != nil {
		return nil, err
	}
	mark(wire.BeginMark + wire.ExecName)
	if command.Terminal != nil {
		return startOnTerminal(command)
	}
	return startOnPipes(command)
}

func startOnPipes(command *wire.Command) (*process, error) {
	var theirs, ours [3]*os.File
	defer func() {
		for _, f := range theirs {
			f.Close() // works for nil, too
		}
	}()
	for i := range theirs {
		if i == 2 && command.OneOutput {
			break
		}
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
			return nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		ours[i], theirs[i] = r, w
	}
	p := &process{stdin: ours[0], output: ours[1:]}
	fds := theirs[:]
	if command.OneOutput {
		p.output, fds = ours[1:2], []*os.File{theirs[0], theirs[1], theirs[1]}
	}
	var err error
	if p.pid, err = start(command, fds, &syscall.SysProcAttr{Setsid: true}); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func start(command *wire.Command, files []*os.File, attr *syscall.SysProcAttr) (pid int, err error) {
	p, err := os.StartProcess(command.Path, command.Args, &os.ProcAttr{
		Dir: command.Dir, Env: command.Env, Files: files, Sys: attr,
	})
	if err != nil {
		return 0, err
	}
	pid = p.Pid
	return pid, p.Release() // await waits for it
}

// pump sends everything that it reads from r.
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

// await waits for a child. It also reaps orphans, which the kernel has reparented to PID 1.
func await(pid int) (*wire.Ended, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && got != pid:
		case err != nil:
			return nil, fmt.Errorf("wait for process %d: %w", pid, err)
		case status.Signaled():
			return &wire.Ended{Signal: status.Signal()}, nil
		default:
			return &wire.Ended{Status: status.ExitStatus()}, nil
		}
	}
}
