// Package boot has the flags of commands that boot guests, and makes a guest's configuration of
// them.
package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
)

// Flags select the kernel and configure its guest.
type Flags struct {
	Kernel string
	Archs  []string
	// GDB makes guests wait for gdb. Only commands with this flag set it.
	GDB bool

	accelerator string
	qemu        string
	params      cli.Each
	qemuArgs    cli.Each
	bootTimeout time.Duration
	cold        bool
}

// NewFlags returns the defaults.
func NewFlags() Flags {
	return Flags{Kernel: cli.DefaultKernel, accelerator: string(accel.Auto), bootTimeout: guest.DefaultBootTimeout}
}

// Add adds the flags to a command, except --gdb.
func (f *Flags) Add(cmd *cobra.Command) {
	cli.AddFlags(cmd, cli.Flags{
		"kernel": &f.Kernel, "arch": &f.Archs, "accel": &f.accelerator, "qemu": &f.qemu, "cold": &f.cold,
		"append": &f.params, "qemu-arg": &f.qemuArgs, "boot-timeout": &f.bootTimeout,
	})
}

// Config returns the configuration that does not depend on the kernel.
func (f *Flags) Config() (c guest.Config, err error) {
	by, err := accel.Parse(f.accelerator)
	if err != nil {
		return c, err
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	return guest.Config{
		Agent: self, QEMU: f.qemu, Accelerator: by, StateDir: StateDir(),
		Params: f.params, QEMUArgs: f.qemuArgs, BootTimeout: f.bootTimeout, Cold: f.cold,
	}, nil
}

// Resolve returns the configuration with the one kernel of a command. It sets Kernel to the
// kernel's name. The caller closes the configuration's store.
func (f *Flags) Resolve(cmd *cobra.Command) (guest.Config, error) {
	c, err := f.Config()
	if err != nil {
		return c, err
	}
	c.Note = cli.Notes(cmd)
	if c.Store, err = inputs.OpenStore(cmd, c.Note); err != nil {
		return c, err
	}
	name, archs, err := inputs.OneKernel(cmd, c.Store, f.Kernel, f.Archs)
	if err == nil {
		f.Kernel, f.Archs = name, nil // the name contains the architecture
		c.Kernel, err = c.Store.Resolve(cmd.Context(), name)
	}
	if err == nil && len(archs) > 0 && !slices.Contains(archs, c.Kernel.Arch) {
		err = fmt.Errorf("kernel %s is for %s, not for %s", name, c.Kernel.Arch, strings.Join(archs, ", "))
	}
	if err != nil {
		c.Store.Close()
	}
	return c, err
}

// Debug makes the guest wait for gdb if the flag is set. The caller calls done after the last guest
// has ended.
func (f *Flags) Debug(cmd *cobra.Command, c *guest.Config) (done func(), err error) {
	if !f.GDB {
		return func() {}, nil
	}
	d, err := guestexec.OpenDebugger(cmd.Context(), c)
	if err != nil {
		return nil, err
	}
	for _, line := range d.Lines() {
		fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	c.Debugger = d.Socket()
	return d.Close, nil
}

// Open returns the configuration with the kernel resolved and gdb set up if the flag is set. The
// caller calls done after the last guest has ended.
func (f *Flags) Open(cmd *cobra.Command) (c guest.Config, done func(), err error) {
	if c, err = f.Resolve(cmd); err != nil {
		return c, nil, err
	}
	gone, err := f.Debug(cmd, &c)
	if err != nil {
		c.Store.Close()
		return c, nil, err
	}
	return c, func() { gone(); c.Store.Close() }, nil
}

// StateDir returns the directory for what is remembered about this host. It is empty if the user
// has no cache directory.
func StateDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bpfreplay", "host")
}
