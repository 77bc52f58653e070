package toolbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/gzip"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/inguest"
)

// Shell is the shell's command name.
const Shell = "sh"

// powerOff is the name of the command that switches the machine off.
const powerOff = "poweroff"

// endMachine switches off the machine if it is a guest; otherwise it fails.
func endMachine() int {
	if err := inguest.Check(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", powerOff, err)
		return 1
	}
	unix.Sync()
	fmt.Fprintf(os.Stderr, "%s: %v\n", powerOff, unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	return 1
}

// command returns u-root's command of this name, nil if there is none. It is a switch rather than a
// table, to add nothing to the start-up time of other programs.
func command(name string) core.Command {
	switch name {
	case "base64":
		return base64.New()
	case "cat":
		return cat.New()
	case "chmod":
		return chmod.New()
	case "cp":
		return cp.New()
	case "find":
		return find.New()
	case "gunzip", "gzcat", "gzip":
		return gzip.New(name)
	case "ls":
		return ls.New()
	case "mkdir":
		return mkdir.New()
	case "mktemp":
		return mktemp.New()
	case "mv":
		return mv.New()
	case "rm":
		return rm.New()
	case "shasum":
		return shasum.New()
	case "tar":
		return tar.New()
	case "touch":
		return touch.New()
	case "xargs":
		return xargs.New()
	}
	return nil
}

// Names returns the names of all commands, sorted.
func Names() []string {
	names := []string{
		Shell, "base64", "cat", "chmod", "cp", "find", "gunzip", "gzcat", "gzip", "ls",
		"mkdir", "mktemp", "mv", powerOff, "rm", "shasum", "tar", "touch", "xargs",
	}
	slices.Sort(names)
	return names
}

// Main runs the command whose name is args[0], and returns its exit status. ok is false if there is
// no such command.
func Main(args []string) (status int, ok bool) {
	name := filepath.Base(args[0])
	if name == Shell {
		return shell(args[1:]), true
	}
	if name == powerOff {
		return endMachine(), true
	}
	c := command(name)
	if c == nil {
		return 0, false
	}
	c.SetIO(os.Stdin, os.Stdout, os.Stderr)
	c.SetLookupEnv(os.LookupEnv)
	if err := c.Run(args[1:]...); err != nil {
		if !errors.Is(err, os.ErrClosed) {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		}
		return 1, true
	}
	return 0, true
}
