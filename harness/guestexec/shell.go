package guestexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/toolbox"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/shellword"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// Shell is a prompt in a guest. Without a terminal it reads commands from Stdin.
type Shell struct {
	// Suite has the cases whose objects the guest gets, below shellSuite. The modules that the
	// cases name are loaded.
	Suite   *suite.Suite
	Engines []string // engines that load the objects before the prompt appears

	With    []string // see Command.With
	Env     []string // NAME=VALUE
	Modules []string // modules of the kernel to load
	First   guest.Preloaded
	Certs   [][]byte // see Command.Certs

	// HostRoot gives the shell this machine's root directory: see Command.HostRoot. It is then a
	// shell of this machine, and starts in Dir.
	HostRoot bool
	Dir      string
	Shares

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       func() (*Terminal, error) // see Command.Terminal

	MemoryMiB int // of the guest; 0 for 1 GiB and room for the files
	CPUs      int // of the guest; 0 for [github.com/bpfreplay/bpfreplay/harness/accel.Accelerator.CPUs]
}

const (
	shellBin   = "/bin"
	shellSuite = "/case"
	shellInit  = "/etc/bpfreplay.sh"
	shellPins  = "/sys/fs/bpf"
	// hostShell is the shell if the guest has the host's root directory. Every machine has it.
	hostShell = "/bin/sh"
)

// usual are commands that people expect at a prompt. They are copied from this machine if it has
// them. Package toolbox provides simpler versions of some (u-root's, with fewer options) for
// machines that do not.
var usual = strings.Fields(`
	awk base64 basename bpftool cat chmod clear cmp cp cut date dd df diff dirname dmesg du env expr
	find free grep gzip head hexdump hostname id insmod ip kill less ln ls lsmod mkdir mktemp mount more mv
	nproc objdump od paste pgrep pidof pkill printenv ps readelf readlink realpath reset rm rmdir rmmod sed
	seq sleep sort stat strace strings stty sync sysctl tail tar tc tee timeout top touch tr tty
	umount uname uniq unshare uptime vi watch wc which xargs xxd yes`)

// Run opens the prompt and returns the shell's exit status: see Exec. A guest that powers off
// counts as 0. There is no timeout.
func (sh *Shell) Run(ctx context.Context, c guest.Config) (status int, err error) {
	s, err := sh.session(&c)
	if err != nil {
		return 0, err
	}
	status, err = s.run(ctx, c)
	var ending *vm.Ending
	if errors.As(err, &ending) && ending.Reason == vm.PoweredOff {
		return 0, nil
	}
	return status, err
}

func (sh *Shell) session(on *guest.Config) (*session, error) {
	s := &session{
		modules: slices.Concat(sh.Modules, sh.Suite.Modules()), hostRoot: sh.HostRoot, shares: sh.Shares,
		first: sh.First, stdin: sh.Stdin, stdout: sh.Stdout, stderr: sh.Stderr, terminal: sh.Terminal, get: &getter{},
		memory: sh.MemoryMiB, cpus: sh.CPUs,
	}
	objects, err := sh.objects()
	if err != nil {
		return nil, err
	}
	s.command = wire.Command{
		Path: path.Join(shellBin, toolbox.Shell), Args: []string{toolbox.Shell, "-init", shellInit},
		Dir: sh.Dir, Files: objects, Certs: sh.Certs,
	}
	self := "bpfreplay"
	if sh.HostRoot {
		if len(sh.With) > 0 {
			return nil, fmt.Errorf("%s: with this machine's root there is nothing to take along", sh.With[0])
		}
		// This is no login shell: this machine's start-up files may not suit a guest.
		self = on.Agent
		s.command.Path, s.command.Args = hostShell, []string{"sh", "-c", `. "$0"; exec "${SHELL:-/bin/sh}"`, shellInit}
		s.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "SHELL=" + os.Getenv("SHELL")}, sh.Env...)
	} else {
		if s.base, err = shellTools(on.Kernel.Arch); err != nil {
			return nil, err
		}
		g := guestFiles{arch: on.Kernel.Arch, byPath: make(map[string]initramfs.File)}
		for _, name := range append(terminfo(sh.Env), sh.With...) {
			if err := g.with(name); err != nil {
				return nil, err
			}
		}
		s.files, s.reusable = g.list(), len(sh.With) == 0
		if s.command.Dir = "/root"; len(sh.Suite.Cases) > 0 {
			s.command.Dir = shellSuite
		}
		env := []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "PS1=" + on.Kernel.Name + ":"}
		s.command.Env = slices.Concat(libraryPath(sh.Env), env, sh.Env)
	}
	s.command.Files = append(s.command.Files, wire.File{Path: shellInit, Mode: 0o644, Data: []byte(sh.script(self, on))})
	if s.memory == 0 {
		s.memory = execMemory + memoryFor(s.base) + memoryFor(s.files)
	}
	return s, nil
}

// objects returns the objects of the cases and a suite file that lists them.
func (sh *Shell) objects() ([]wire.File, error) {
	if len(sh.Suite.Cases) == 0 {
		return nil, nil
	}
	part := suite.Suite{Name: sh.Suite.Name, Cases: slices.Clone(sh.Suite.Cases), Partial: true, External: sh.Suite.External}
	var files []wire.File
	seen := make(map[string][]byte)
	add := func(name string, data []byte) error {
		if other, ok := seen[name]; ok {
			if bytes.Equal(other, data) {
				return nil
			}
			return fmt.Errorf("two objects have the same name: %s", name)
		}
		seen[name] = data
		files = append(files, wire.File{Path: path.Join(shellSuite, "bpf", name), Mode: 0o644, Data: data})
		return nil
	}
	for i := range part.Cases {
		c := &part.Cases[i]
		from := sh.Suite.Path(c)
		data, err := os.ReadFile(from)
		if err == nil {
			err = add(filepath.Base(from), data)
		}
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, err)
		}
		replaced, err := sh.Suite.Replaced(c)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, err)
		}
		for _, r := range replaced {
			if err := add(r.File, r.Object); err != nil {
				return nil, fmt.Errorf("case %s: %w", c.Name, err)
			}
		}
		c.Object, c.Replace = filepath.Base(from), suite.ReplaceBeside(replaced)
	}
	list, err := yaml.Marshal(&part)
	if err != nil {
		return nil, fmt.Errorf("suite: %w", err)
	}
	return append(files, wire.File{Path: path.Join(shellSuite, "cases.yaml"), Mode: 0o644, Data: list}), nil
}

// shellTools returns the commands of the guest.
func shellTools(of string) ([]initramfs.File, error) {
	g := guestFiles{arch: of, byPath: make(map[string]initramfs.File)}
	for _, name := range append(toolbox.Names(), "bpfreplay") {
		link := initramfs.File{Path: path.Join(shellBin, name), Mode: os.ModeSymlink | 0o777, Data: []byte("/init")}
		if err := g.add(link); err != nil {
			return nil, err
		}
	}
	for _, name := range usual {
		host := lookPath(name)
		if host == "" {
			continue
		}
		files, err := initramfs.Programs(of, guestLibraries, host)
		if err != nil {
			continue // a script, or a library is missing
		}
		for _, f := range files {
			if f.Path == path.Join(guestLibraries, "bin", filepath.Base(host)) {
				f.Path = path.Join(shellBin, name)
			}
			if err := g.add(f); err != nil {
				return nil, err
			}
		}
	}
	return g.list(), nil
}

// lookPath finds a program of this machine, also in the directories that only root's PATH has.
func lookPath(name string) string {
	for _, p := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if at, err := exec.LookPath(p); err == nil {
			if at, err = filepath.EvalSymlinks(at); err == nil {
				return at
			}
		}
	}
	return ""
}

// terminfo returns the terminfo file of the terminal that env names, if this machine has one.
func terminfo(env []string) []string {
	for _, e := range env {
		name, ok := strings.CutPrefix(e, "TERM=")
		if !ok || name == "" {
			continue
		}
		for _, dir := range []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"} {
			file := filepath.Join(dir, name[:1], name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return []string{file}
			}
		}
	}
	return nil
}

// loadFlags returns the flags of the load command for a case. An artefact is loaded as it is,
// without an engine.
func (sh *Shell) loadFlags(c *suite.Case, engine string) string {
	if is, err := artefact.IsFile(sh.Suite.Path(c)); err != nil || !is {
		return " --engine " + engine
	}
	if len(sh.Certs) > 0 {
		return " --keyring user"
	}
	return ""
}

// script returns the script that the shell runs first. It loads the objects and prints what is
// where. It prints to standard error, because standard output belongs to the user's commands.
func (sh *Shell) script(self string, on *guest.Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say := func(text string) { line("echo %s >&2", shellword.Quote(text)) }
	if sh.HostRoot {
		line("mkdir -p %s", shellPins)
	}
	if sh.Terminal != nil {
		say(fmt.Sprintf("Linux %s in a guest. exit or Ctrl-D ends it; Ctrl-] does, too, if it hangs.", on.Kernel.Release))
	}
	for i := range sh.Suite.Cases {
		c := &sh.Suite.Cases[i]
		object := path.Join(shellSuite, "bpf", filepath.Base(c.Object))
		replace := ""
		for _, name := range slices.Sorted(maps.Keys(c.Replace)) {
			from, program := suite.SplitReplaced(c.Replace[name])
			dir := path.Join(shellPins, "replaced", name)
			line("mkdir -p %s", shellword.Quote(path.Dir(dir)))
			line("%s load --engine direct --pin %s %s >/dev/null", self, shellword.Quote(dir), shellword.Quote(path.Join(shellSuite, "bpf", filepath.Base(from))))
			pinned := shellword.Quote(path.Join(dir, "programs", program))
			if program == "" { // the only one
				pinned = `"$(echo ` + pinned + `/*)"`
			}
			replace += " --replace " + shellword.Quote(name+"=") + pinned
		}
		engines := sh.Engines
		if c.Only != "" {
			engines = nil // the load command has no flag for Only: it loads all programs
		}
		for _, e := range engines {
			dir := path.Join(shellPins, e)
			if len(sh.Suite.Cases) > 1 {
				line("mkdir -p %s", dir)
				dir = path.Join(dir, strings.ReplaceAll(c.Name, ".", "_"))
			}
			load := fmt.Sprintf("%s load%s --pin %s%s %s", self, sh.loadFlags(c, e), shellword.Quote(dir), replace, shellword.Quote(object))
			if sh.Terminal == nil {
				line("%s >/dev/null", load)
				continue
			}
			say("+ " + load)
			line("%s >&2", load)
		}
		if sh.Terminal != nil {
			say("To compare what engines load, and to see how a load goes:")
			say(fmt.Sprintf("  %s compare -v --effects --suite %s/cases.yaml --case %s", self, shellSuite, shellword.Quote(c.Name)))
			say(fmt.Sprintf("  %s explain %s", self, shellword.Quote(object)))
		}
	}
	return b.String()
}
