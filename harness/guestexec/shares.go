package guestexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/hostport"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Shares are parts of this machine that a guest can use while it runs.
type Shares struct {
	// RWDirs are directories that the guest may change, at the same paths. It can change nothing
	// else of this machine.
	RWDirs []string
	// HostPorts are TCP ports on this machine's loopback that the guest reaches at
	// [hostport.HostAddress]. The guest has no other network but its own loopback.
	HostPorts []int
}

// serving holds the servers of one guest's shares.
type serving struct {
	servers     []*fileServer
	filesystems []vm.Filesystem
	ports       *hostport.Forwarder
	network     []string // options of QEMU
	modules     []string // modules that the guest needs for the shares
}

// serve starts the servers of the session's shares, and adds to its command what the agent must
// mount and configure. The caller closes the result when the guest has ended.
func (s *session) serve(c *guest.Config) (_ *serving, err error) {
	out := new(serving)
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	add := func(server *fileServer, tag string) {
		out.servers = append(out.servers, server)
		out.filesystems = append(out.filesystems, vm.Filesystem{Tag: tag, Socket: server.socket})
	}
	if s.hostRoot {
		if err := hasHostRoot(c); err != nil {
			return nil, err
		}
		server, err := serveRoot(c.Agent)
		if err != nil {
			return nil, err
		}
		s.command.HostRoot = "root"
		add(server, s.command.HostRoot)
		out.modules = wire.HostRootModules
	}
	s.command.Shares = nil
	for i, name := range s.shares.RWDirs {
		if err := hasModules(c, "--rwdir", wire.ShareModules); err != nil {
			return nil, err
		}
		at, real, err := writable(name)
		if err != nil {
			return nil, err
		}
		server, err := serveWritable(c.Agent, real)
		if err != nil {
			return nil, err
		}
		share := wire.Share{Tag: fmt.Sprintf("rw%d", i), Path: at}
		s.command.Shares = append(s.command.Shares, share)
		add(server, share.Tag)
		out.modules = slices.Concat(out.modules, wire.ShareModules)
	}
	if ports := s.shares.HostPorts; len(ports) > 0 {
		if err := hasModules(c, "--host-port", wire.NetworkModules); err != nil {
			return nil, err
		}
		// The forwarder calls Note from its own goroutines, and Note must not be called
		// concurrently.
		var mu sync.Mutex
		note := c.Note
		c.Note = func(line string) {
			mu.Lock()
			defer mu.Unlock()
			note(line)
		}
		if out.ports, err = hostport.Open(ports, c.Note); err != nil {
			return nil, fmt.Errorf("--host-port: %w", err)
		}
		out.network, s.command.Network = out.ports.Rules(c.Agent), true
		out.modules = slices.Concat(out.modules, wire.NetworkModules)
	}
	return out, nil
}

// writable returns the path that a directory has in a guest, and its real path on this machine.
func writable(name string) (at, real string, err error) {
	if at, err = filepath.Abs(name); err != nil {
		return "", "", err
	}
	wrap := func(err error) error { return fmt.Errorf("--rwdir %s: %w", name, err) }
	if err := checkGuestPath(at); err != nil {
		return "", "", wrap(err)
	}
	if real, err = filepath.EvalSymlinks(at); err != nil {
		var failed *os.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return "", "", wrap(err)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return "", "", wrap(err)
	case !info.IsDir():
		return "", "", wrap(unix.ENOTDIR)
	case real == "/":
		return "", "", wrap(errors.New("the whole of this machine cannot be made writable: name a directory"))
	}
	if err := unix.Access(real, unix.W_OK); err != nil {
		return "", "", wrap(fmt.Errorf("not writable: %w", err))
	}
	return at, real, nil
}

func (v *serving) close() {
	for _, s := range v.servers {
		s.close()
	}
	if v.ports != nil {
		v.ports.Close()
	}
}

// blame adds the last line of a server's output to an error of the guest, if the server ended
// first.
func (v *serving) blame(err error) error {
	for _, s := range v.servers {
		if blamed := s.blame(err); blamed != err {
			return blamed
		}
	}
	return err
}
