package local

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/await"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/skelprog"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

type loadFlags struct {
	engine   string
	bpftool  string
	pin      string
	replace  cli.Each
	sections string
	keyring  string
	certs    cli.Each
}

// NewLoad returns the command load.
func NewLoad() *cobra.Command {
	f := loadFlags{engine: enginename.Replay, sections: inputs.DefaultSections}
	cmd := &cobra.Command{
		Use:   "load OBJECT|FILE",
		Short: "Load an object, or a file that gen wrote, on this machine, and print the maps and programs",
		Long: `load runs the loader program of an object, or of a file that gen wrote, on the running
kernel, prints the resulting maps and programs, and unloads them. It needs the rights to
load BPF programs.

With --engine it loads an object with another engine. With --pin DIR, a directory on a
BPF file system, the load persists: maps are pinned in DIR/maps, programs in
DIR/programs, and links of gen --attach in DIR/links. Dots in names become underscores.

A program that replaces a function of another one (freplace) needs its target:
--replace NAME=PROGRAM, where PROGRAM is an id or a pin.

With --keyring the kernel verifies the signature of a file that sign wrote, with the
keys in that keyring: a serial, as keyctl(1) prints it, or a name. With --cert it uses a
keyring that is made for this load and holds this certificate. With --engine signed an
object is signed and loaded with a key that is made for the load.

If the kernel refuses a program, load also prints the verifier's log.`,
		Example: `  bpfreplay load my.bpf.o
  bpfreplay load --engine direct --pin /sys/fs/bpf/direct my.bpf.o
  bpfreplay load --keyring secondary my.bpfreplay`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cli.AddFlags(cmd, cli.Flags{
		"engine": &f.engine, "bpftool": &f.bpftool, "replace": &f.replace, "pin": &f.pin, "keyring": &f.keyring, "cert": &f.certs,
		"sections": &f.sections,
	})
	cmd.MarkFlagsMutuallyExclusive("keyring", "cert")
	return cmd
}

func (f *loadFlags) run(cmd *cobra.Command, path string) error {
	l, err := f.load(cmd, path)
	if err != nil {
		if log := strings.TrimRight(engine.Log(err), "\n"); log != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), visible.Text(log))
		}
		return err
	}
	defer l.Close()
	if f.pin != "" {
		if err := pin(f.pin, l); err != nil {
			return err
		}
	}
	return printLoaded(cmd.OutOrStdout(), l)
}

func (f *loadFlags) load(cmd *cobra.Command, path string) (*engine.Loaded, error) {
	is, err := artefact.IsFile(path)
	if err != nil {
		return nil, err
	}
	programs, done, err := openPrograms(f.replace)
	if err != nil {
		return nil, err
	}
	defer done()
	if is {
		if f.engine != enginename.Replay {
			return nil, fmt.Errorf("%s is a loader program: engine %s loads objects only", path, f.engine)
		}
		a, err := artefact.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return await.Load(cmd.Context(), func() (*engine.Loaded, error) { return f.runFile(a, programs) })
	}
	if f.keyring != "" || len(f.certs) > 0 {
		return nil, fmt.Errorf("%s is an object: only a file that sign wrote has a signature (--engine signed makes one to try)", path)
	}
	opts, err := inputs.ObjectOptions(f.sections)
	if err != nil {
		return nil, err
	}
	tool, err := findTool(f.bpftool, f.engine)
	if err != nil {
		return nil, err
	}
	if len(enginename.Skeletons([]string{f.engine})) > 0 {
		if tool.Skeletons, err = os.MkdirTemp("", "bpfreplay-skeletons-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(tool.Skeletons)
	}
	engines, err := engine.ByName([]string{f.engine}, tool)
	if err != nil {
		return nil, err
	}
	var obj *object.Object // nil if our reader refuses it
	ready, err := await.Work(cmd.Context(), func() (engine.Load, error) {
		data, err := object.ReadFile(path)
		if err != nil {
			return nil, err
		}
		ours := f.engine != enginename.Direct && !enginename.UseTool([]string{f.engine})
		if obj, err = opts.OpenBytes(data, path); err != nil && ours { // external engines have their own readers
			return nil, err
		}
		name := filepath.Base(path)
		if tool.Skeletons != "" {
			if _, err := skelprog.Build(cmd.Context(), f.engine, "", tool.Skeletons, []skelprog.Object{{Name: name, Data: data}}); err != nil {
				return nil, err
			}
		}
		return engines[0].Open(engine.Object{Name: name, Data: data, Replaces: programs, Sections: opts.SectionRules})
	})
	if err != nil {
		return nil, err
	}
	if obj != nil {
		inputs.Warn(cmd, path, obj.Warnings)
	}
	loaded, err := await.Load(cmd.Context(), func() (*engine.Loaded, error) { return ready.Do(target.New()) })
	if err != nil {
		return nil, err
	}
	if obj != nil {
		if t, err := trace.Plan(obj, trace.Options{}); err == nil {
			arrange(loaded, t)
		}
	}
	return loaded, nil
}

// openPrograms opens the target programs that --replace names, by the name of the freplace program.
// The caller calls done, which closes them.
func openPrograms(values []string) (programs map[string]int, done func(), err error) {
	targets, err := inputs.Replacements(values)
	if err != nil {
		return nil, nil, err
	}
	programs = make(map[string]int)
	done = func() {
		for _, fd := range programs {
			bpfsys.Close(fd)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		fd, err := openProgram(targets[name])
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("--replace %s=%s: %w", name, targets[name], err)
		}
		programs[name] = fd
	}
	return programs, done, nil
}

// openProgram opens a program by its id or its pin.
func openProgram(which string) (int, error) {
	if id, err := strconv.ParseUint(which, 10, 32); err == nil {
		return bpfsys.FDByID(bpfsys.ProgGetFDByID, uint32(id))
	}
	return bpfsys.Get(which)
}

// findTool returns the bpftool that an engine drives, if any of the engines does.
func findTool(path string, engines ...string) (engine.Tool, error) {
	if path != "" || !enginename.UseTool(engines) {
		return engine.Tool{Path: path}, nil
	}
	path, err := enginename.FindTool()
	return engine.Tool{Path: path}, err
}

func (f *loadFlags) runFile(a *artefact.Artefact, programs map[string]int) (*engine.Loaded, error) {
	o := replay.Options{Options: target.Options{Programs: programs}, Keyring: f.keyring}
	if len(f.certs) > 0 {
		certs, err := inputs.Certificates(f.certs)
		if err != nil {
			return nil, err
		}
		ring, err := keyring.New(certs...)
		if err != nil {
			return nil, err
		}
		defer ring.Close()
		o.Keyring = ring.ID().String()
	}
	r, err := replay.Load(a, o)
	if err != nil {
		return nil, err
	}
	return engine.Handles(a, r, func() {}), nil
}

// arrange sorts maps and programs into the order of the trace, whatever the engine.
func arrange(l *engine.Loaded, t *trace.Trace) {
	byMap := func(h state.Handle) int {
		return slices.IndexFunc(t.Maps, func(m *trace.Map) bool { return m.Name == h.Name })
	}
	byProgram := func(h state.Handle) int {
		return slices.IndexFunc(t.Programs, func(p *trace.Program) bool { return p.Name == h.Name })
	}
	slices.SortStableFunc(l.Maps, func(a, b state.Handle) int { return byMap(a) - byMap(b) })
	slices.SortStableFunc(l.Programs, func(a, b state.Handle) int { return byProgram(a) - byProgram(b) })
}

// printLoaded prints maps and programs as the kernel describes them.
func printLoaded(w io.Writer, l *engine.Loaded) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range l.Maps {
		info, _, err := bpfsys.GetMapInfo(m.FD)
		if err != nil {
			return fmt.Errorf("map %s: %w", visible.Name(m.Name), err)
		}
		fmt.Fprintf(tw, "map\t%s\tid %d\t%s\tkey %d, value %d, max_entries %d\n",
			visible.Name(m.Name), info.ID, info.Type, info.KeySize, info.ValueSize, info.MaxEntries)
	}
	for _, p := range l.Programs {
		info, _, err := bpfsys.GetProgInfo(p.FD)
		if err != nil {
			return fmt.Errorf("program %s: %w", visible.Name(p.Name), err)
		}
		fmt.Fprintf(tw, "program\t%s\tid %d\t%s\ttag %x, %d instructions after verification\n",
			visible.Name(p.Name), info.ID, info.Type, info.Tag, info.XlatedProgLen/8)
	}
	for _, h := range l.Links {
		info, err := bpfsys.GetLinkInfo(h.FD)
		if err != nil {
			return fmt.Errorf("program %s: %w", visible.Name(h.Name), err)
		}
		fmt.Fprintf(tw, "link\t%s\tid %d\t%s\tof program %d\n", visible.Name(h.Name), info.ID, state.LinkType(info), info.Program)
	}
	return tw.Flush()
}

// pinName returns the name under which something is pinned. A BPF file system reserves names with
// dots, and a slash would lead elsewhere.
func pinName(name string) string { return strings.NewReplacer(".", "_", "/", "_").Replace(name) }

// checkPins refuses objects that would be pinned under the same name.
func checkPins(what string, handles []state.Handle) error {
	taken := make(map[string]string)
	for _, h := range handles {
		name := pinName(h.Name)
		if other, ok := taken[name]; ok && h.FD >= 0 {
			return fmt.Errorf("%s %s and %s %s would both be pinned as %s: rename one of them, or load without --pin",
				what, visible.Name(other), what, visible.Name(h.Name), visible.Name(name))
		}
		taken[name] = h.Name
	}
	return nil
}

// pin pins everything that was loaded, or nothing.
func pin(dir string, l *engine.Loaded) (err error) {
	if err := errors.Join(checkPins("map", l.Maps), checkPins("program", l.Programs)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("directory for pins: %w", err)
	}
	defer func() {
		if err != nil {
			err = failures.All(err, os.RemoveAll(dir))
		}
	}()
	for sub, handles := range map[string][]state.Handle{"maps": l.Maps, "programs": l.Programs, "links": l.Links} {
		if sub == "links" && len(handles) == 0 {
			continue
		}
		at := filepath.Join(dir, sub)
		if err := os.Mkdir(at, 0o700); err != nil {
			return fmt.Errorf("directory for pins: %w", err)
		}
		for _, h := range handles {
			// A BPF file system reserves names with dots.
			path := filepath.Join(at, pinName(h.Name))
			if err := bpfsys.Pin(h.FD, path); err != nil {
				return fmt.Errorf("pin %s at %s (is it on a BPF file system?): %w", h.Name, path, err)
			}
		}
	}
	return nil
}
