package setup

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/kconfig"
)

// NewKernels returns the command kernels.
func NewKernels() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "Manage the kernels that guests boot: list, fetch, update, prune",
	}
	cmd.AddCommand(newKernelsList(), newKernelsFetch(), newKernelsUpdate(), newKernelsPrune(), newKernelsConfig())
	return cmd
}

// withStore calls fn with the open cache of kernels.
func withStore(cmd *cobra.Command, fn func(*vmimage.Store) error) error {
	store, err := inputs.OpenStore(cmd, cli.Notes(cmd))
	if err != nil {
		return err
	}
	defer store.Close()
	return fn(store)
}

func newKernelsList() *cobra.Command {
	var asJSON bool
	var tier string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the kernels of kernels.yaml and which of them are on this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(s *vmimage.Store) error {
				list, err := s.List()
				if err != nil {
					return err
				}
				if tier != "" {
					list = slices.DeleteFunc(list, func(l vmimage.Listing) bool { return !slices.Contains(l.Tiers, tier) })
				}
				if asJSON {
					return cli.PrintJSON(cmd.OutOrStdout(), list)
				}
				return printList(cmd.OutOrStdout(), list)
			})
		},
	}
	cli.AddFlags(cmd, cli.Flags{"json": &asJSON, "tier": &tier})
	return cmd
}

func printList(w io.Writer, list []vmimage.Listing) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tTIERS\tRELEASE\tCACHED\tSOURCE")
	for _, l := range list {
		cached := "-"
		if l.Cached {
			cached = fmt.Sprintf("%d MB", l.Size/1e6)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Name, strings.Join(l.Tiers, ","), cmp.Or(l.Release, "-"), cached, l.Source)
	}
	return tw.Flush()
}

func newKernelsFetch() *cobra.Command {
	return &cobra.Command{
		Use:               "fetch [NAME...]",
		Short:             "Fetch kernels, verify them, and keep them on this machine; all of them without a name",
		ValidArgsFunction: inputs.CompleteKernels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(s *vmimage.Store) error {
				got, err := s.Fetch(cmd.Context(), args...)
				for _, k := range got {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", k.Name, k.Release)
				}
				return err
			})
		},
	}
}

func newKernelsConfig() *cobra.Command {
	name := arch.Native
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print a fragment of a kernel's configuration with the options that guests need",
		Long: `config prints a fragment of a configuration with the options that guests need, and those
that enable more cases. To use it in a kernel tree:

  bpfreplay kernels config >kernel/configs/bpfreplay.config
  make defconfig bpfreplay.config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			of, err := arch.Parse(name)
			if err != nil {
				return fmt.Errorf("--arch: %w", err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), kconfig.Fragment(of))
			return err
		},
	}
	cli.AddFlags(cmd, cli.Flags{"arch": &name})
	return cmd
}

func newKernelsUpdate() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "update [NAME...]",
		Short:             "Resolve kernels again and write the lock file",
		ValidArgsFunction: inputs.CompleteKernels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(s *vmimage.Store) error {
				changes, err := s.Update(cmd.Context(), args...)
				if err != nil {
					return err
				}
				if asJSON {
					return cli.PrintJSON(cmd.OutOrStdout(), changes)
				}
				for _, c := range changes {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s -> %s\n", c.Name, c.Old, c.New)
				}
				return nil
			})
		},
	}
	cli.AddFlags(cmd, cli.Flags{"json": &asJSON})
	return cmd
}

func newKernelsPrune() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove files from the cache that no kernel of kernels.yaml needs any more",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(s *vmimage.Store) error {
				gone, err := s.Prune(all)
				var freed int64
				for _, p := range gone {
					fmt.Fprintln(cmd.OutOrStdout(), p.Path)
					freed += p.Size
				}
				fmt.Fprintf(cmd.OutOrStdout(), "freed %d MB\n", freed/1e6)
				return err
			})
		},
	}
	cli.AddFlags(cmd, cli.Flags{"all": &all})
	return cmd
}
