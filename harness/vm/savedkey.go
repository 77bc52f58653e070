package vm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/accel"
)

// SavedKey returns a name for the guests that can be restored with this configuration. It is a
// digest of QEMU, its command line without the paths, the processor, and the boot of this machine.
// The caller has to add what the guest boots from. Timeouts and the console do not matter. It
// starts no guest, but may probe KVM as [Start] does, and returns the same errors.
func (c Config) SavedKey(ctx context.Context) (string, error) {
	c, err := c.withDefaults()
	if err != nil {
		return "", err
	}
	qemu, err := c.findQEMU()
	if err != nil {
		return "", err
	}
	choice, err := accel.Choose(ctx, c.Arch, c.Accelerator, c.StateDir)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "saved guest %d\n", savedFormat)
	// Running QEMU for its version would cost a process, and distinguish less.
	if qemu, err = filepath.EvalSymlinks(qemu); err != nil {
		return "", fmt.Errorf("QEMU: %w", err)
	}
	info, err := os.Stat(qemu)
	if err != nil {
		return "", fmt.Errorf("QEMU: %w", err)
	}
	fmt.Fprintf(sum, "%q %d %d\n", qemu, info.Size(), info.ModTime().UnixNano())

	c.Kernel, c.Initrd, c.InitrdFile = "", "", nil
	wires := inherited(3, 4, 5)
	wires.memory = savedMemory(6, true)
	fmt.Fprintf(sum, "%q\n", c.commandLine(choice.Accelerator, wires, c.platform().panicDevice))

	// The guest has calibrated the processor's clock, and under KVM has seen its features.
	id, err := accel.BootID()
	if err != nil {
		return "", err
	}
	cpu, err := processor()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "%s\n%q\n", id, cpu)
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// processorFields are the lines of /proc/cpuinfo that identify a processor and do not change at run
// time.
var processorFields = []string{"vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"}

// processor describes this machine's first processor.
func processor() ([]string, error) {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() && lines.Text() != "" {
		name, _, _ := strings.Cut(lines.Text(), ":")
		if slices.Contains(processorFields, strings.TrimSpace(name)) {
			out = append(out, lines.Text())
		}
	}
	return out, lines.Err()
}
