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

	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Command is a program to run in the guest.
type Command struct {
	Path string   `json:"path"`
	Args []string `json:"args"` // the first is what the program is called
	Dir  string   `json:"dir"`  // working directory
	Env  []string `json:"env,omitempty"`
	// Terminal is the size of the terminal that it is to have as standard input,
	// output and error, nil for pipes.
	Terminal *Size `json:"terminal,omitempty"`
	// OneOutput: what it writes as standard output and error goes the same way, in the
	// order in which it is written.
	OneOutput bool `json:"one_output,omitempty"`
	// Times are when files were changed last, of those that the guest has from the start
	// as well.
	Times []FileTime `json:"times,omitempty"`
	// Files are made before it starts, with the directories that they are in.
	Files []File `json:"files,omitempty"`
	// Get are files and directories to be sent back after its end.
	Get []string `json:"get,omitempty"`
	// GetMore are those of Get that need not be there.
	GetMore []string `json:"get_more,omitempty"`
	// Certs are certificates (X.509, DER) for root's user keyring, for loads that the
	// program asks the kernel to verify.
	Certs [][]byte `json:"certs,omitempty"`
	// HostRoot is the virtiofs tag of the file system that it has as its root,
	// which it may change in memory only; empty for the guest's own root. Paths
	// begin there, then.
	HostRoot string `json:"host_root,omitempty"`
	// Shares are directories of the host that it may change.
	Shares []Share `json:"shares,omitempty"`
	// Network: the guest has a card, and the host is at [hostport.HostAddress].
	Network bool `json:"network,omitempty"`
}

// Share is a directory of the host.
type Share struct {
	Tag  string `json:"tag"`  // of its virtiofs
	Path string `json:"path"` // where the program finds it
}

// Size is that of a terminal, in characters.
type Size struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// File is a file that the host puts into the guest: a regular file, a directory or
// a symbolic link.
type File struct {
	Path string      `json:"path"` // absolute
	Mode os.FileMode `json:"mode"`
	Data []byte      `json:"data,omitempty"` // contents, or where the link leads
	// Size is how many bytes of contents follow the Request, those of all files one
	// after another; Data is empty then.
	Size int64 `json:"size,omitempty"`
}

// FileTime is when a file was changed last.
type FileTime struct {
	Path     string    `json:"path"`
	Modified time.Time `json:"modified"`
}

// Input follows a Command: what the program reads, or the new size of its
// terminal. The host sends no more than Window of those with Data ahead of those
// that were Taken. After Output.Ended it sends a last Input, with Over, and the
// agent waits for its next Request.
type Input struct {
	Data []byte `json:"data,omitempty"`
	EOF  bool   `json:"eof,omitempty"` // there is no more to read
	Size *Size  `json:"size,omitempty"`
	Over bool   `json:"over,omitempty"`
	// Signal is sent to the program's process group.
	Signal syscall.Signal `json:"signal,omitempty"`
	// Hangs: the program has had its time. The agent answers with Output.Hangs, and a Go
	// program writes where its goroutines are.
	Hangs bool `json:"hangs,omitempty"`
}

// Window is how many Inputs with data may be under way.
const Window = 16

// Output answers a Command, many times: what the program writes, as it writes
// it, and at last how it ended. What a terminal shows is Stdout.
type Output struct {
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Taken  bool   `json:"taken,omitempty"` // the data of an Input is the program's now, or not wanted
	Got    []byte `json:"got,omitempty"`   // part of a tar archive of Command.Get, paths without their first slash
	Ended  *Ended `json:"ended,omitempty"`
	Hangs  *Hangs `json:"hangs,omitempty"`
}

// Hangs is where the guest's processes are. The last one has Done, unless Ended comes before.
type Hangs struct {
	Lines []string `json:"lines,omitempty"`
	Done  bool     `json:"done,omitempty"`
}

// Ended is how a program came to its end.
type Ended struct {
	Status int            `json:"status"`            // exit status
	Signal syscall.Signal `json:"signal,omitempty"`  // that ended it, if one did
	Error  string         `json:"error,omitempty"`   // why it did not start
	GetErr string         `json:"get_err,omitempty"` // why not all of Command.Get was sent
}

// execute runs a program and sends what it writes. An error means that the host
// cannot be reached, or that this guest is not fit for programs.
func execute(c *Conn, command *Command) error {
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

// fit makes the guest fit for programs, once.
var fit = sync.OnceValue(func() error {
	if err := loadModules(func(string) bool { return true }); err != nil {
		return err
	}
	return furnish()
})

// openFiles is how many files a program may have open, as systemd has it. The
// kernel gives PID 1 less.
var openFiles = unix.Rlimit{Cur: 1024, Max: 512 << 10}

// furnish sets up what programs expect and loads do not need.
func furnish() error {
	if err := switchRoot("/"); err != nil {
		return err
	}
	// Without debugfs a kernel has nothing there to be seen.
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
	if err := interfaceUp("lo"); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// deviceLinks are in each /dev, and not the kernel's: shells and programs in C name files by them.
var deviceLinks = map[string]string{
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
}

// hostname is that of guests.
const hostname = "guest"

// databases are what the C library and Go look users, groups and names of hosts up in. Such a file that was taken
// along stays as it is.
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

// interfaceUp switches a network interface on. The kernel then gives the loopback interface its addresses.
func interfaceUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// ExecName is the name of the program that a [Command] runs, where there is that of a case otherwise: see
// [BeginMark].
const ExecName = "exec"

// linger is how long what a program has started may hold its output open after
// it has ended.
const linger = 5 * time.Second

// process is a program that runs.
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

func runCommand(c *Conn, command *Command) error {
	var mu sync.Mutex
	send := func(o *Output) error {
		mu.Lock()
		defer mu.Unlock()
		return c.Send(o)
	}
	p, err := prepare(c, command)
	if err != nil {
		// The host may be sending input already.
		return errors.Join(send(&Output{Ended: &Ended{Error: err.Error()}}), discardInput(c))
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
					return send(&Output{Stdout: b})
				}
				return send(&Output{Stderr: b})
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
	mark(EndMark + ExecName) // what the kernel says of the program is on the console before this
	if err := send(&Output{Ended: ended}); err != nil {
		return err
	}
	return <-input
}

// prepare makes the command's files and starts it.
func prepare(c *Conn, command *Command) (*process, error) {
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
	// Last: the files that are made above must not be made in a directory of the host's.
	if err := mountShares(command.Shares); err != nil {
		return nil, err
	}
	mark(BeginMark + ExecName)
	if command.Terminal != nil {
		return startOnTerminal(command)
	}
	return startOnPipes(command)
}

func startOnPipes(command *Command) (*process, error) {
	var theirs, ours [3]*os.File
	defer func() {
		for _, f := range theirs {
			f.Close() // of nil, too
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

func start(command *Command, files []*os.File, attr *syscall.SysProcAttr) (pid int, err error) {
	p, err := os.StartProcess(command.Path, command.Args, &os.ProcAttr{
		Dir: command.Dir, Env: command.Env, Files: files, Sys: attr,
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
