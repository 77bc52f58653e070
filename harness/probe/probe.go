package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// Names returns the capabilities in the table, sorted.
func Names() []string { return slices.Sorted(maps.Keys(table)) }

// Known reports whether a capability has a probe. Besides [Names] these are look-ups by name in the
// BTF of the kernel and of all modules: "func:NAME", "struct:NAME", "typedef:NAME" and "var:NAME",
// and "module:NAME" for a module with BTF.
func Known(name string) bool {
	_, ok := find(name)
	return ok
}

// Run probes whether the running kernel has a capability. t gives access to the kernel's types. Run
// needs the right to load programs; without it the result is no, with EPERM. t lists the modules'
// types once, so a module that is loaded later needs a new Target.
func Run(name string, t *target.Target) wire.Probe {
	e, ok := find(name)
	if !ok {
		return wire.Probe{Name: name, Detail: fmt.Sprintf("no probe is called %q", name)}
	}
	return result(name, e, t)
}

// kernel is the part of a target that experiments use.
type kernel interface {
	Vmlinux() (*btf.Spec, error)
	FindType(name string, kind uint32, only string) (id uint32, fd int, err error)
	Contract() (contract.Contract, error)
}

// experiment is one way to find out whether a kernel has a capability: it has if there is no error.
// try also returns a short description of what it tried.
type experiment interface {
	try(k kernel) (tried string, err error)
}

func result(name string, e experiment, k kernel) wire.Probe {
	tried, err := e.try(k)
	if err == nil {
		return wire.Probe{Name: name, OK: true, Detail: tried}
	}
	r := wire.Probe{Name: name, Errno: errnoName(err), Detail: tried}
	if why := reason(err); why != "" {
		r.Detail += ": " + why
	}
	return r
}

// errNotSupp is ENOTSUPP, an errno internal to the kernel that trampolines and kfunc calls
// nevertheless return.
const errNotSupp = unix.Errno(524)

func errnoName(err error) string {
	errno, ok := errors.AsType[unix.Errno](err)
	switch {
	case !ok:
		return ""
	case errno == errNotSupp:
		return "ENOTSUPP"
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(errno))
}

// reason returns the text of err as one line, without the errno, which Errno already has.
func reason(err error) string {
	why := err.Error()
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		why = strings.TrimSuffix(strings.TrimSuffix(why, errno.Error()), ": ")
	}
	return strings.Join(strings.Fields(why), " ")
}
