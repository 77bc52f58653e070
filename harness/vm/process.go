package vm

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxStderr bounds how much of QEMU's output is kept, in bytes.
const maxStderr = 64 << 10

// StartBound starts a command that cannot outlive this process. The command gets its own process
// group, so Ctrl-C on the terminal only reaches this process. StartBound calls wait, which must
// wait for the command to exit, in a goroutine.
//
// The guarantee comes from PR_SET_PDEATHSIG: the host's kernel sends SIGKILL to the child once the
// thread that forked it is gone. A Go program's threads come and go. StartBound therefore locks the
// goroutine that starts the child to its thread, and keeps it there until the child exits. When our
// process dies, even by SIGKILL, its threads die and the child with them. The alternatives are
// weaker: QEMU does not exit when QMP or the port are closed, and a watchdog process can be killed
// too.
func StartBound(cmd *exec.Cmd, wait func()) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			wait()
		}
	}()
	return <-started
}

// process is a child process that cannot outlive us: see [StartBound].
type process struct {
	cmd    *exec.Cmd
	output *os.File // standard output and error, in memory
	exited chan struct{}

	mu     sync.Mutex
	reaped bool // the process id may have been reused
}

// startProcess runs the program with the given files as descriptors 3 and up.
func startProcess(path string, args []string, files []*os.File) (*process, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for the output of %s: %w", path, err)
	}
	p := &process{
		cmd:    exec.Command(path, args...),
		output: os.NewFile(uintptr(fd), "output"),
		exited: make(chan struct{}),
	}
	p.cmd.Stdout = p.output
	p.cmd.Stderr = p.output
	p.cmd.ExtraFiles = files
	if err := StartBound(p.cmd, p.reap); err != nil {
		p.output.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// reap waits for the child, and kills the rest of its process group.
func (p *process) reap() {
	// The child remains a zombie for now, so that its id, which is also the group's, is not reused.
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	_ = p.cmd.Wait() // the status is in ProcessState
	p.reaped = true
	close(p.exited)
}

// kill kills the process group, unless the child has been reaped.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	}
}

// text returns what the process has written so far.
func (p *process) text() string {
	data, err := io.ReadAll(io.NewSectionReader(p.output, 0, maxStderr))
	if err != nil {
		return fmt.Sprintf("(output cannot be read: %v)", err)
	}
	return string(data)
}
