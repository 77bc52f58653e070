package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// counter is the example whose object both programs load.
const counter = "loader/skel/examples/counter"

// beginnings has the two programs, which open, load and attach: one with bpf2go's code, one with
// our skeleton.
var beginnings = map[string]string{
	"bpf2go": `package main

import "github.com/cilium/ebpf/link"

func main() {
	var objs counterObjects
	check(loadCounterObjects(&objs, nil))
	_, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sched_process_exec", Program: objs.HandleExec})
	check(err)
}
`,
	"skeleton": `package main

func main() {
	s, err := openCounter()
	check(err)
	check(s.Load())
	check(s.Attach())
}
`,
}

const check = `package main

func check(err error) {
	if err != nil {
		panic(err)
	}
}
`

// measurer runs the programs in turns and prints the milliseconds and KiB of each run.
const measurer = `package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

func main() {
	runs, _ := strconv.Atoi(os.Args[1])
	times, peaks := make([][]float64, len(os.Args)-2), make([][]float64, len(os.Args)-2)
	for range runs + 1 { // the first one warms up
		for i, path := range os.Args[2:] {
			cmd := exec.Command(path)
			cmd.Stderr = os.Stderr
			start := time.Now()
			if err := cmd.Run(); err != nil {
				panic(err)
			}
			times[i] = append(times[i], time.Since(start).Seconds()*1000)
			peaks[i] = append(peaks[i], float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss))
		}
	}
	for i := range times {
		times[i], peaks[i] = times[i][1:], peaks[i][1:]
	}
	json.NewEncoder(os.Stdout).Encode([][][]float64{times, peaks})
}
`

// sideBySide compares a program with bpf2go's code and one with a skeleton of the same object. Each
// run is a new process in the same guest.
func (b *bench) sideBySide(ctx context.Context) error {
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	source := filepath.Join(root, counter, "counter.bpf.c")
	files := map[string]string{
		"go.mod":          "module example.com/bench\n\ngo 1.26.0\n",
		"go.work":         fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%s\n)\n", root),
		"measure/main.go": measurer,
	}
	for name, text := range beginnings {
		files[name+"/main.go"], files[name+"/check.go"] = text, check
	}
	for name, text := range files {
		path := filepath.Join(b.temp, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	run := func(dir string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = filepath.Join(b.temp, dir)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOPACKAGE=main", "GOWORK="+filepath.Join(b.temp, "go.work"))
		return output(cmd)
	}
	a, err := arch.Parse(arch.Native)
	if err != nil {
		return err
	}
	if _, err := run("bpf2go", "go", "run", "github.com/cilium/ebpf/cmd/bpf2go", "-cc", "clang-19", "-strip", "llvm-strip-19", "-target", "bpfel", "-type", "event",
		"counter", source, "--", "-I/usr/include/"+a.Triplet); err != nil {
		return err
	}
	if _, err := run("skeleton", "go", "run", "github.com/bpfreplay/bpfreplay/cmd/bpfreplay", "gen", "--go", "--cc", "clang-19", "--type", "event",
		"--ident", "counter", source); err != nil {
		return err
	}
	names := []string{"skeleton", "bpf2go"}
	args := []string{filepath.Join(root, "bpfreplay"), "exec", "--kernel", b.kernel, "--bare"}
	sizes, imports := make(map[string]float64), make(map[string]int)
	for _, name := range append(names, "measure") {
		bin := filepath.Join(b.temp, name+".bin")
		if _, err := run(name, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "."); err != nil {
			return err
		}
		info, err := os.Stat(bin)
		if err != nil {
			return err
		}
		sizes[name] = float64(info.Size())
		deps, err := run(name, "go", "list", "-deps", ".")
		if err != nil {
			return err
		}
		imports[name] = len(strings.Fields(string(deps)))
		args = append(args, "--with", bin)
	}
	args = append(args, "--", filepath.Join(b.temp, "measure.bin"), fmt.Sprint(b.skeletons))
	for _, name := range names {
		args = append(args, filepath.Join(b.temp, name+".bin"))
	}
	out, err := run(".", args...)
	if err != nil {
		return err
	}
	var measured [2][2][]float64 // times, peaks; of the skeleton, of bpf2go
	if err := json.Unmarshal(out, &measured); err != nil {
		return fmt.Errorf("%w: %q", err, out)
	}
	add := func(what, unit string, ours, theirs, scale, budget float64) {
		b.rows = append(b.rows, row{what: what, base: "bpf2go", ratio: ours / theirs, budget: budget,
			detail: fmt.Sprintf("%.1f and %.1f %s", ours/scale, theirs/scale, unit)})
	}
	add("skeleton: open, load, attach in a new process", "ms", median(measured[0][0]), median(measured[0][1]), 1, 0.25)
	add("skeleton: peak memory of it", "MiB", median(measured[1][0]), median(measured[1][1]), 1024, 0.4)
	add("skeleton: stripped binary", "MiB", sizes[names[0]], sizes[names[1]], 1<<20, 0)
	add("skeleton: packages linked", "packages", float64(imports[names[0]]), float64(imports[names[1]]), 1, 0)
	return nil
}
