package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// FreshArg is the first argument of this program if it is to time one load in a process of its own.
// The engine's name and the path of the object follow.
const FreshArg = "__time-load"

// FreshMain loads an object once and prints how long that took, in nanoseconds. That is the cost
// for a program that loads one object with nothing cached: neither the kernel's types nor the
// results of feature probes. Reading the object and generating the loader program are not included.
func FreshMain(args []string) int {
	ns, err := timeLoad(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bpfreplay:", err)
		return 1
	}
	fmt.Println(ns)
	return 0
}

func timeLoad(args []string) (int64, error) {
	if len(args) != 2 {
		return 0, fmt.Errorf("%s: engine and object wanted", FreshArg)
	}
	engines, err := engine.ByName(args[:1], engine.Tool{})
	if err != nil {
		return 0, err
	}
	data, err := os.ReadFile(args[1])
	if err != nil {
		return 0, err
	}
	ready, err := engines[0].Open(engine.Object{Name: filepath.Base(args[1]), Data: data})
	if err != nil {
		return 0, err
	}
	loaded, took, err := engine.Time(ready, target.New())
	if err != nil {
		return 0, err
	}
	loaded.Close()
	return took.Nanoseconds(), nil
}

// timeFresh times one load in a new process, in nanoseconds.
func timeFresh(engine string, req *wire.CaseRequest) (int64, error) {
	file := filepath.Join(os.TempDir(), filepath.Base(req.File))
	if err := os.WriteFile(file, req.Object, 0o600); err != nil {
		return 0, err
	}
	defer os.Remove(file)
	cmd := exec.Command("/proc/self/exe", FreshArg, engine, file, req.Bpftool)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("load in a new process: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}
