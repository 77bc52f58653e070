package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/askbpf"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

// Commands that fix findings. Only scripts/setup.sh knows which packages they need.
const (
	setupGuest   = "make setup"
	setupObjects = "scripts/setup.sh objects"
	setupBpftool = "scripts/setup.sh bpftool"
	setupExtras  = "scripts/setup.sh extras"
)

// toolTimeout is how long a program may take to print its version.
const toolTimeout = 5 * time.Second

// version runs a program and returns the first match in its output.
func version(ctx context.Context, form *regexp.Regexp, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("%s does not run: %w %s", program, err, first)
	}
	match := form.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s does not say its version", program)
	}
	return string(match[1]), nil
}

var numbers = regexp.MustCompile(`v?(\d+\.\d+(?:\.\d+)?)`)

// savesGuests is the first QEMU that can restore guests from a private mapping of their memory
// (b17fbbe55cba).
const savesGuests = "4.1"

// emulators checks the QEMUs for the kernels that are named, and reports others that are installed.
func (o Options) emulators(ctx context.Context) []Check {
	wanted := slices.Clone(o.Archs)
	for _, word := range strings.FieldsFunc(o.Kernel, func(r rune) bool { return r == ',' || r == ' ' }) {
		if of, _, explicit := arch.Cut(word); explicit || len(o.Archs) == 0 {
			wanted = append(wanted, of)
		}
	}
	var out []Check
	for _, a := range arch.All {
		c := o.qemu(ctx, a, slices.Contains(wanted, a.Name))
		if c.Needed || c.Status == OK {
			out = append(out, c)
		}
	}
	return out
}

func (o Options) qemu(ctx context.Context, of *arch.Arch, needed bool) Check {
	c := Check{Name: "qemu", Needed: needed, Mend: setupGuest}
	if of.Name != arch.Native {
		c.Name, c.Mend = "qemu for "+of.Name, "scripts/setup.sh "+of.Name
	}
	program := cmp.Or(o.QEMU, of.QEMU)
	path, err := exec.LookPath(program)
	if err != nil {
		c.Status, c.Detail = Missing, program+" is not in PATH"
		return c
	}
	v, err := version(ctx, numbers, path, "--version")
	if err != nil {
		c.Status, c.Detail = Missing, err.Error()
		return c
	}
	c.Detail = fmt.Sprintf("%s, %s", v, path)
	if kversion.Compare(v, savesGuests) < 0 {
		c.Status, c.Detail = Note, c.Detail+"; guests are saved and restored from "+savesGuests+" on, so each is booted"
		return c
	}
	c.Status, c.Mend, c.Detail = OK, "", c.Detail+"; saves guests"
	return c
}

const kvm = "/dev/kvm"

func (o Options) accelerator(ctx context.Context) []Check {
	c := Check{Name: "accelerator", Status: OK}
	choice, err := accel.Choose(ctx, arch.Native, accel.Auto, o.StateDir)
	if err != nil {
		c.Status, c.Detail = Note, err.Error()
		return []Check{c}
	}
	c.Detail = fmt.Sprintf("%s: %s", choice.Accelerator, choice.Reason)
	if choice.Accelerator != accel.KVM {
		c.Status, c.Mend = Note, mendKVM()
	}
	return []Check{c}
}

// mendKVM returns how to fix a /dev/kvm that cannot be used, or "".
func mendKVM() string {
	f, err := os.OpenFile(kvm, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return "" // it opens but does not work: only the host of this virtual machine can fix that
	case errors.Is(err, fs.ErrPermission):
		return "sudo usermod -aG kvm \"$USER\", and log in again"
	case errors.Is(err, fs.ErrNotExist):
		return "sudo modprobe kvm_intel || sudo modprobe kvm_amd; if that fails, switch virtualisation on in the firmware or on the host of this host"
	default:
		return ""
	}
}

func (o Options) room() Check {
	c := Check{Name: "memory and cores", Status: OK}
	if o.FreeMiB == 0 {
		c.Status, c.Detail = Note, fmt.Sprintf("%d cores; the free memory is not known", runtime.NumCPU())
		return c
	}
	guests := o.FreeMiB / guest.GuestMemoryMiB
	c.Detail = fmt.Sprintf("%d cores, and %d MiB for guests: memory for %d at once", runtime.NumCPU(), o.FreeMiB, guests)
	if guests == 0 {
		c.Status, c.Needed, c.Mend = Missing, true, fmt.Sprintf("free some memory: a guest takes %d MiB", guest.GuestMemoryMiB)
	}
	return c
}

func (o Options) suite() Check {
	c := Check{Name: "core suite", Status: OK, Needed: true, Detail: o.Suite}
	if _, err := os.Stat(o.Suite); err != nil {
		c.Status, c.Detail = Missing, fmt.Sprintf("%s is not there, so that only objects of yours can be tested", o.Suite)
		c.Mend = "run it at the top of the source tree, or name the suite with --suite"
	}
	return c
}

func hostBPF() Check {
	c := Check{Name: "bpf(2) here", Status: OK, Detail: "maps and programs can be loaded on this machine, too"}
	if err := askbpf.Ask(toolTimeout); err != nil {
		c.Status, c.Detail = Note, err.Error()+"; what needs it runs in guests"
		if os.Geteuid() != 0 {
			c.Mend = "run it as root, if you want it here"
		}
	}
	return c
}

// clangProgram and clangPinned are the compiler and its version that build the objects of the core
// suite. They must match scripts/objects.sh.
const (
	clangProgram = "clang-19"
	clangPinned  = "19.1.7"
)

var libbpfVersion = regexp.MustCompile(`libbpf v(\S+)`)

// tools checks tools that only some purposes need.
func tools(ctx context.Context) []Check {
	return []Check{
		clang(ctx),
		bpftool(ctx),
		tool(ctx, "pahole", "make BTF for kernels that you build", "pahole"),
		tool(ctx, "gdb", "debug a guest's kernel", "gdb"),
		virtiofsd(ctx),
	}
}

func virtiofsd(ctx context.Context) Check {
	path, err := guestexec.FindRootServer()
	if path != "" && err != nil {
		return Check{Name: "virtiofsd", Status: Note, Detail: err.Error(), Mend: "run what has --rootfs host as root"}
	}
	return tool(ctx, "virtiofsd", "show guests this machine's files", path)
}

func clang(ctx context.Context) Check {
	c := Check{Name: clangProgram, Mend: setupObjects}
	path, err := exec.LookPath(clangProgram)
	if err != nil {
		c.Status, c.Detail = Note, fmt.Sprintf("not in PATH: only to change objects of the core suite (%s)", clangPinned)
		return c
	}
	v, err := version(ctx, numbers, path, "--version")
	switch {
	case err != nil:
		c.Status, c.Detail = Note, err.Error()
	case v != clangPinned:
		c.Status, c.Detail = Note, fmt.Sprintf("%s, but objects of the core suite are built with %s", v, clangPinned)
	default:
		c.Status, c.Detail, c.Mend = OK, v, ""
	}
	return c
}

func bpftool(ctx context.Context) Check {
	c := Check{Name: "bpftool", Mend: setupBpftool}
	path, err := enginename.FindTool()
	if err != nil {
		c.Status, c.Detail = Note, "not there: only for the engines libbpf and libbpf-light"
		return c
	}
	v, err := version(ctx, numbers, path, "version")
	if err != nil {
		c.Status, c.Detail = Note, err.Error()
		return c
	}
	libbpf, err := version(ctx, libbpfVersion, path, "version")
	if err != nil {
		libbpf = "of unknown version"
	}
	c.Status, c.Mend, c.Detail = OK, "", fmt.Sprintf("%s with libbpf %s, %s", v, libbpf, path)
	return c
}

// tool checks for a program at one of these places.
func tool(ctx context.Context, name, purpose string, places ...string) Check {
	c := Check{Name: name, Mend: setupExtras}
	for _, place := range places {
		path, err := exec.LookPath(place)
		if err != nil {
			continue
		}
		v, err := version(ctx, numbers, path, "--version")
		if err != nil {
			c.Status, c.Detail = Note, err.Error()
			return c
		}
		abs, _ := filepath.Abs(path)
		c.Status, c.Mend, c.Detail = OK, "", fmt.Sprintf("%s, %s", v, cmp.Or(abs, path))
		return c
	}
	c.Status, c.Detail = Note, "not there: only to "+purpose
	return c
}
