package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

func newGen() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "gen OBJECT -o DIR",
		Short: "Write the loader program of an object: instructions, blob and a manifest",
		Long: `gen writes insns.bin, blob.bin and manifest.json into DIR. The same object gives
the same bytes on every machine. The context of the loader program is that of
libbpf's skel_internal.h; the manifest says where each map and program is in it,
and what, if anything, a run of these files alone cannot do.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			obj, err := loader.Open(args[0])
			if err != nil {
				return err
			}
			p, err := loader.Generate(obj, &loader.Options{Inputs: true})
			if err != nil {
				return err
			}
			a := p.Artefact()
			if err := a.Write(dir); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d instructions, a blob of %d bytes, %d maps, %d programs\n",
				dir, a.Manifest.Insns, a.Manifest.Blob, len(a.Maps), len(a.Programs))
			for _, n := range a.Needs {
				fmt.Fprintln(cmd.OutOrStdout(), "needs", n)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "out", "o", "", "directory to write to")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func newLoad() *cobra.Command {
	return &cobra.Command{
		Use:   "load OBJECT|DIR",
		Short: "Load an object, or what gen wrote, by loader program on this machine, and print what came to be",
		Long: `load runs the loader program of an object, or one that gen wrote into a directory,
on the running kernel, prints the maps and programs that it left, and lets go of
them again. It needs the rights to load BPF programs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			var maps, programs []string
			var fds *loader.FDs
			if info.IsDir() {
				a, err := loader.OpenArtefact(args[0])
				if err != nil {
					return err
				}
				for _, m := range a.Maps {
					maps = append(maps, m.Name)
				}
				for _, p := range a.Programs {
					programs = append(programs, p.Name)
				}
				fds, err = a.Load()
				if err != nil {
					return err
				}
			} else {
				obj, err := loader.Open(args[0])
				if err != nil {
					return err
				}
				p, err := loader.Generate(obj, nil)
				if err != nil {
					return err
				}
				for _, m := range p.Trace.Maps {
					maps = append(maps, m.Name)
				}
				for _, prog := range p.Trace.Programs {
					programs = append(programs, prog.Name)
				}
				if fds, err = p.LoadFDs(nil); err != nil {
					return err
				}
			}
			defer fds.Close()
			return printLoaded(cmd.OutOrStdout(), maps, programs, fds)
		},
	}
}

// printLoaded prints maps and programs as the kernel describes them.
func printLoaded(w io.Writer, maps, programs []string, fds *loader.FDs) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, fd := range fds.Maps {
		info, _, err := bpfsys.GetMapInfo(fd)
		if err != nil {
			return fmt.Errorf("map %s: %w", maps[i], err)
		}
		fmt.Fprintf(tw, "map\t%s\tid %d\t%s\tkey %d, value %d, max_entries %d\n",
			maps[i], info.ID, trace.MapTypeName(info.Type), info.KeySize, info.ValueSize, info.MaxEntries)
	}
	for i, fd := range fds.Programs {
		if fd < 0 {
			fmt.Fprintf(tw, "program\t%s\t-\tof no use to this kernel\n", programs[i])
			continue
		}
		info, _, err := bpfsys.GetProgInfo(fd)
		if err != nil {
			return fmt.Errorf("program %s: %w", programs[i], err)
		}
		fmt.Fprintf(tw, "program\t%s\tid %d\t%s\ttag %x, %d instructions after verification\n",
			programs[i], info.ID, trace.ProgTypeName(info.Type), info.Tag, info.XlatedProgLen/8)
	}
	return tw.Flush()
}
