// Package accel decides what executes a guest's instructions: KVM if a probe shows that it works
// on this machine, or QEMU's translator TCG. Begin at [Choose].
package accel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Accelerator is what executes the guest's instructions.
type Accelerator string

const (
	// Auto is KVM if it works, otherwise TCG.
	Auto Accelerator = "auto"
	// KVM is the host's hardware virtualisation. If it does not work the guest is not started.
	KVM Accelerator = "kvm"
	// TCG is QEMU's translator. It works everywhere and is about ten times slower.
	TCG Accelerator = "tcg"
)

// Parse reads a name that a user typed.
func Parse(name string) (Accelerator, error) {
	switch a := Accelerator(name); a {
	case Auto, KVM, TCG:
		return a, nil
	}
	return "", fmt.Errorf("unknown accelerator %q: use auto, kvm or tcg", name)
}

// Choice is the accelerator that was chosen: [KVM] or [TCG].
type Choice struct {
	Accelerator Accelerator `json:"accelerator"`
	// Reason is one line to show to the user.
	Reason string `json:"reason"`
}

// MostCPUs is the maximum that [Accelerator.CPUs] returns. Each virtual CPU costs memory of the
// guest and boot time, and the interrupt controller of an arm64 guest under TCG supports eight.
const MostCPUs = 8

// CPUs returns the default number of virtual CPUs for a guest that runs the user's programs. Under
// KVM it is the number of this machine's CPUs, up to [MostCPUs]. Under TCG it is one: a second one
// makes a boot 40 % longer (2.3 to 3.2 s, Linux 6.12) and a small program in a restored guest 30 %
// (0.30 to 0.40 s). Only work for two CPUs gets faster (20 to 13 s).
func (a Accelerator) CPUs(host int) int {
	if a == KVM {
		return min(max(host, 1), MostCPUs)
	}
	return 1
}

// ErrUnusable means that KVM was asked for and does not work on this host.
var ErrUnusable = errors.New("KVM is not usable on this host")

// Choose decides what runs a guest of the architecture of; an empty one is this
// machine's. Auto means KVM only if a probe shows that it works. Opening /dev/kvm proves little: on
// some nested hosts the guest then runs hundreds of times too slowly and never prints a line. The
// verdict is stored in stateDir for this boot of the host. If KVM is asked for by name it is probed
// anew; if it does not work the error wraps [ErrUnusable]. KVM runs guests of this machine's
// architecture only.
func Choose(ctx context.Context, of string, want Accelerator, stateDir string) (Choice, error) {
	return chooser{probe: probeKVM, bootID: BootID, stateDir: stateDir, of: of}.choose(ctx, want)
}

// chooser holds the inputs of the choice.
type chooser struct {
	probe    func(context.Context) error
	bootID   func() (string, error)
	stateDir string
	of       string // architecture of the guest
}

func (c chooser) choose(ctx context.Context, want Accelerator) (Choice, error) {
	if c.of != "" && c.of != arch.Native {
		why := fmt.Sprintf("an %s guest on %s is emulated", c.of, arch.Native)
		switch want {
		case KVM:
			return Choice{}, fmt.Errorf("%w: %s (use the accelerator tcg or auto)", ErrUnusable, why)
		case Auto, "":
			return Choice{TCG, why}, nil
		}
	}
	switch want {
	case TCG:
		return Choice{TCG, "asked for"}, nil
	case KVM:
		err := c.probeAndRemember(ctx)
		if ctx.Err() != nil {
			return Choice{}, context.Cause(ctx)
		}
		if err != nil {
			return Choice{}, fmt.Errorf("%w: %w (use the accelerator tcg or auto)", ErrUnusable, err)
		}
		return Choice{KVM, "asked for"}, nil
	case Auto, "":
	default:
		return Choice{}, fmt.Errorf("unknown accelerator %q: use auto, kvm or tcg", want)
	}

	if choice, ok := c.recall(); ok {
		return choice, nil
	}
	err := c.probeAndRemember(ctx)
	if ctx.Err() != nil {
		return Choice{}, context.Cause(ctx)
	}
	return verdict(err), nil
}

// verdict returns the choice that follows from the result of the probe.
func verdict(probe error) Choice {
	if probe != nil {
		return Choice{TCG, "KVM is not usable: " + probe.Error()}
	}
	return Choice{KVM, "a probe guest ran at full speed"}
}

// slowKVMError means that the probe guest ran, but too slowly.
type slowKVMError struct{ took time.Duration }

func (e *slowKVMError) Error() string {
	return fmt.Sprintf("a probe guest of %d loop iterations took %s, more than %s (emulated by the host of this host?)",
		probeIterations, e.took.Round(100*time.Microsecond), probeLimit)
}

const (
	// probeIterations is how often the probe guest runs its loop of two instructions.
	probeIterations = 100_000
	// probeLimit is the most that the fastest of probeRuns may take. Hardware needs about 0.1 ms;
	// where the guest's instructions are emulated one by one it takes 40 ms or more.
	probeLimit = 5 * time.Millisecond
	probeRuns  = 3
	// probeDeadline ends a probe that hangs.
	probeDeadline = time.Second
)

// remembered is the content of the file that stores the verdict.
type remembered struct {
	BootID string `json:"boot_id"`
	Choice
}

// probeAndRemember runs the probe, and stores a verdict that holds for the whole boot of the host.
func (c chooser) probeAndRemember(ctx context.Context) error {
	err := c.probe(ctx)
	var slow *slowKVMError
	// A probe that hits its own deadline counts as slow, unless the caller's context is done.
	overdue := ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded)
	if err == nil || overdue || errors.As(err, &slow) {
		// A failure to open the device may be fixed at any time and is cheap to detect again, so it
		// is not stored. If the verdict cannot be stored, the next run probes again.
		_ = c.remember(verdict(err))
	}
	return err
}

func (c chooser) file() string { return filepath.Join(c.stateDir, "accelerator.json") }

// recall returns the stored verdict. On any error the caller probes again.
func (c chooser) recall() (Choice, bool) {
	if c.stateDir == "" {
		return Choice{}, false
	}
	id, err := c.bootID()
	if err != nil {
		return Choice{}, false
	}
	data, err := os.ReadFile(c.file())
	if err != nil {
		return Choice{}, false
	}
	var r remembered
	if err := json.Unmarshal(data, &r); err != nil || r.BootID != id {
		return Choice{}, false
	}
	if r.Accelerator == TCG {
		return r.Choice, r.Reason != ""
	}
	// The verdict may be another user's, so check each time that this one may open the device.
	return r.Choice, r.Accelerator == KVM && openable(kvmDevice)
}

// remember stores the verdict atomically: another process reads all of it or none.
func (c chooser) remember(choice Choice) error {
	if c.stateDir == "" {
		return nil
	}
	id, err := c.bootID()
	if err != nil {
		return err
	}
	data, err := json.Marshal(remembered{BootID: id, Choice: choice})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.stateDir, 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(c.file(), append(data, '\n'), 0o644)
}

const kvmDevice = "/dev/kvm"

func openable(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// BootID returns what tells this boot of the machine from all others.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}
