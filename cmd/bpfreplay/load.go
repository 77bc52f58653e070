package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

type loadFlags struct {
	engine  string
	bpftool string
	pin     string
}

func newLoad() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load OBJECT|DIR",
		Short: "Load an object, or what gen wrote, on this machine, and print what came to be",
		Long: `load runs the loader program of an object, or one that gen wrote into a directory,
on the running kernel, prints the maps and programs that it left, and lets go of
them again. It needs the rights to load BPF programs.

With --engine it loads an object another way. With --pin what was loaded stays:
maps are pinned in DIR/maps, programs in DIR/programs, DIR being on a BPF file
system. Names have underscores where they had dots.

Where the kernel refuses a program, the verifier's log is printed, too.`,
		Example: `  bpfreplay load my.bpf.o
  bpfreplay load --engine direct --pin /sys/fs/bpf/direct my.bpf.o`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.engine, "engine", "e", state.EngineReplay, "the engine that loads: "+strings.Join(engine.Names(), ", "))
	fl.StringVar(&f.bpftool, "bpftool", "", "the bpftool that libbpf and libbpf-light drive; none is this machine's")
	fl.StringVar(&f.pin, "pin", "", "a directory, to be made on a BPF file system, in which to pin all that was loaded")
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(engine.Names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *loadFlags) run(cmd *cobra.Command, path string) error {
	l, err := f.load(path)
	if err != nil {
		if log := strings.TrimRight(engine.Log(err), "\n"); log != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), log)
		}
		return err
	}
	defer l.close()
	if f.pin != "" {
		if err := pin(f.pin, l); err != nil {
			return err
		}
	}
	return printLoaded(cmd.OutOrStdout(), l)
}

// onKernel is what was loaded. Programs that are of no use to the kernel have no fd.
type onKernel struct {
	maps, programs []state.Handle
	close          func()
}

func (f *loadFlags) load(path string) (*onKernel, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if f.engine != state.EngineReplay {
			return nil, fmt.Errorf("%s: engine %s loads objects only", path, f.engine)
		}
		return loadArtefact(path)
	}
	tool, err := findTool(f.bpftool, f.engine)
	if err != nil {
		return nil, err
	}
	engines, err := engine.ByName([]string{f.engine}, tool)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ready, err := engines[0].Open(engine.Object{Name: filepath.Base(path), Data: data})
	if err != nil {
		return nil, err
	}
	loaded, err := ready.Do(target.New())
	if err != nil {
		return nil, err
	}
	l := &onKernel{maps: loaded.Maps, programs: loaded.Programs, close: loaded.Close}
	if t, err := planFile(path); err == nil {
		l.arrange(t)
	}
	return l, nil
}

// findTool is the bpftool that an engine drives, if it drives one.
func findTool(path string, engines ...string) (engine.Tool, error) {
	if path != "" || !engine.UseTool(engines) {
		return engine.Tool{Path: path}, nil
	}
	path, err := engine.FindTool()
	return engine.Tool{Path: path}, err
}

func loadArtefact(dir string) (*onKernel, error) {
	a, err := loader.OpenArtefact(dir)
	if err != nil {
		return nil, err
	}
	fds, err := a.Load()
	if err != nil {
		return nil, err
	}
	l := &onKernel{close: fds.Close}
	for i, m := range a.Maps {
		l.maps = append(l.maps, state.Handle{Name: m.Name, FD: fds.Maps[i]})
	}
	for i, p := range a.Programs {
		l.programs = append(l.programs, state.Handle{Name: p.Name, FD: fds.Programs[i]})
	}
	return l, nil
}

// arrange puts maps and programs into the order of the trace, whatever the
// engine, and adds programs that were not loaded.
func (l *onKernel) arrange(t *trace.Trace) {
	order := make(map[string]int)
	for i, m := range t.Maps {
		order["map "+m.Name] = i
	}
	for i, p := range t.Programs {
		order["program "+p.Name] = i
		if !slices.ContainsFunc(l.programs, func(h state.Handle) bool { return h.Name == p.Name }) {
			l.programs = append(l.programs, state.Handle{Name: p.Name, FD: -1})
		}
	}
	slices.SortFunc(l.maps, func(a, b state.Handle) int { return order["map "+a.Name] - order["map "+b.Name] })
	slices.SortFunc(l.programs, func(a, b state.Handle) int { return order["program "+a.Name] - order["program "+b.Name] })
}

// pin pins all that was loaded, or nothing.
func pin(dir string, l *onKernel) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("directory for pins: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for sub, handles := range map[string][]state.Handle{"maps": l.maps, "programs": l.programs} {
		at := filepath.Join(dir, sub)
		if err := os.Mkdir(at, 0o700); err != nil {
			return fmt.Errorf("directory for pins: %w", err)
		}
		for _, h := range handles {
			if h.FD < 0 {
				continue
			}
			// A BPF file system keeps names with dots for itself.
			path := filepath.Join(at, strings.ReplaceAll(h.Name, ".", "_"))
			if err := bpfsys.Pin(h.FD, path); err != nil {
				return fmt.Errorf("pin %s at %s (is it on a BPF file system?): %w", h.Name, path, err)
			}
		}
	}
	return nil
}

// printLoaded prints maps and programs as the kernel describes them.
func printLoaded(w io.Writer, l *onKernel) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range l.maps {
		info, _, err := bpfsys.GetMapInfo(m.FD)
		if err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
		fmt.Fprintf(tw, "map\t%s\tid %d\t%s\tkey %d, value %d, max_entries %d\n",
			m.Name, info.ID, trace.MapTypeName(info.Type), info.KeySize, info.ValueSize, info.MaxEntries)
	}
	for _, p := range l.programs {
		if p.FD < 0 {
			fmt.Fprintf(tw, "program\t%s\t-\tof no use to this kernel\n", p.Name)
			continue
		}
		info, _, err := bpfsys.GetProgInfo(p.FD)
		if err != nil {
			return fmt.Errorf("program %s: %w", p.Name, err)
		}
		fmt.Fprintf(tw, "program\t%s\tid %d\t%s\ttag %x, %d instructions after verification\n",
			p.Name, info.ID, trace.ProgTypeName(info.Type), info.Tag, info.XlatedProgLen/8)
	}
	return tw.Flush()
}
