// Package boot makes the configuration of a guest from the flags of a command, and has the modules
// that guests load first.
package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Flags select the kernel, and whether gdb examines it. The other flags of a guest are fields of
// its configuration.
type Flags struct {
	Kernels string   // --kernel
	Archs   []string // --arch
	GDB     bool     // --gdb, which only some commands have
}

// Add adds the flags to a command, except --gdb.
func (f *Flags) Add(cmd *cobra.Command, c *guest.Config) {
	f.Kernels = cmp.Or(f.Kernels, cli.DefaultKernel)
	c.Accelerator, c.BootTimeout = accel.Auto, guest.DefaultBootTimeout
	cli.AddFlags(cmd, cli.Flags{
		"kernel": &f.Kernels, "arch": &f.Archs, "accel": (*string)(&c.Accelerator), "qemu": &c.QEMU, "cold": &c.Cold,
		"append": (*cli.Each)(&c.Params), "qemu-arg": (*cli.Each)(&c.QEMUArgs), "boot-timeout": &c.BootTimeout,
	})
}

// SetHost sets the fields of the configuration that depend on this machine only.
func SetHost(c *guest.Config) (err error) {
	if c.Accelerator, err = accel.Parse(string(c.Accelerator)); err != nil {
		return err
	}
	c.StateDir = StateDir()
	c.Agent, err = os.Executable()
	return err
}

// Resolve completes the configuration of a command that boots one kernel. It sets Kernels to the
// kernel's name. The caller closes the configuration's store.
func (f *Flags) Resolve(cmd *cobra.Command, c *guest.Config) error {
	if err := SetHost(c); err != nil {
		return err
	}
	var err error
	c.Note = cli.Notes(cmd)
	if c.Store, err = inputs.OpenStore(cmd, c.Note); err != nil {
		return err
	}
	name, archs, err := inputs.OneKernel(cmd, c.Store, f.Kernels, f.Archs)
	if err == nil {
		f.Kernels, f.Archs = name, nil // the name contains the architecture
		c.Kernel, err = c.Store.Resolve(cmd.Context(), name)
	}
	if err == nil && len(archs) > 0 && !slices.Contains(archs, c.Kernel.Arch) {
		err = fmt.Errorf("kernel %s is for %s, not for %s", name, c.Kernel.Arch, strings.Join(archs, ", "))
	}
	if err != nil {
		c.Store.Close()
	}
	return err
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

// Open completes the configuration: see [Flags.Resolve] and [Flags.Debug]. The caller calls done
// after the last guest has ended.
func (f *Flags) Open(cmd *cobra.Command, c *guest.Config) (done func(), err error) {
	if err := f.Resolve(cmd, c); err != nil {
		return nil, err
	}
	gone, err := f.Debug(cmd, c)
	if err != nil {
		c.Store.Close()
		return nil, err
	}
	return func() { gone(); c.Store.Close() }, nil
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

// kernelModules are modules of the kernel with functions that the Linux selftests call.
var kernelModules = []string{"nf_conntrack", "nf_nat"}

// TestModules returns the modules that guests for the Linux selftests load first. If they cannot be
// built, the cases that need them fail by themselves.
func TestModules(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error) {
	first := guest.Preloaded{Kernel: kernelModules}
	m, err := suites.BuildModules(ctx, suites.ModuleOptions{Store: s, Kernel: k, Say: note})
	switch {
	case errors.Is(err, digest.ErrIntegrity) || ctx.Err() != nil:
		return first, err
	case err != nil:
		note(fmt.Sprintf("%v; cases that need them are unsupported", err))
		return first, nil
	case m.Reason != "":
		note(fmt.Sprintf("there are no test modules for kernel %s, so cases that need them are unsupported: %s", k.Release, m.Reason))
		return first, nil
	}
	for _, file := range m.Files {
		first.Files = append(first.Files, s.Cache().SuitePath(file))
	}
	note("test modules: " + m.About())
	return first, nil
}
