// Package local has the commands that use the kernel of this machine.
package local

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/policy"
)

// NewPolicy returns the command policy.
func NewPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Make this machine's kernel admit only signed BPF programs: load, show, confirm, remove",
		Long: `policy loads a BPF LSM program that decides for the whole machine which BPF programs
may be loaded: those with a signature that the kernel has verified with a key in a listed
keyring, and those that such a program loads. So a signed loader program can load its
object, and nothing else loads.

The policy is pinned in a directory of a BPF file system and lasts until it is removed
or the machine reboots. It can be removed without loading a program. docs/signing.md
describes its limits.`,
	}
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "pin", policy.DefaultDir, cli.Table["pin"].Usage)
	cmd.AddCommand(
		newPolicyLoad(&dir),
		onPolicy(&dir, "show", "Print the policy and its mode, and the refusals since the last call", showPolicy),
		onPolicy(&dir, "confirm", "Make an enforcing policy stay until it is removed", confirmPolicy),
		newPolicyRemove(&dir),
	)
	return cmd
}

func newPolicyLoad(dir *string) *cobra.Command {
	var keyrings []string
	var enforce bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Load a policy that only logs, or that enforces for a minute unless it is confirmed",
		Long: `load loads a policy that logs the programs that it would refuse. With --enforce it
refuses them for a minute, or for the time of --for. After that it only logs again, unless
"bpfreplay policy confirm" was run in time. So a policy that refuses too much ends by
itself.`,
		Example: `  bpfreplay policy load --keyring secondary
  bpfreplay policy load --keyring secondary --enforce --for 5m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := policy.Options{}
			for _, text := range keyrings {
				id, err := keyring.Parse(text)
				if err != nil {
					return err
				}
				o.Keyrings = append(o.Keyrings, id)
			}
			switch {
			case enforce && limit <= 0:
				return fmt.Errorf("--for %s: want a time", limit)
			case enforce:
				o.Enforce = limit
			case cmd.Flags().Changed("for"):
				return fmt.Errorf("--for is for --enforce")
			}
			p, err := policy.Load(*dir, o)
			if err != nil {
				return err
			}
			defer p.Close()
			return showMode(cmd.OutOrStdout(), p)
		},
	}
	limit = time.Minute
	cli.AddFlags(cmd, cli.Flags{"keyring": &keyrings, "enforce": &enforce, "for": &limit})
	_ = cmd.MarkFlagRequired("keyring")
	return cmd
}

// onPolicy returns a command that does something with the loaded policy.
func onPolicy(dir *string, use, short string, do func(w io.Writer, p *policy.Policy) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := policy.Open(*dir)
			if err != nil {
				return err
			}
			defer p.Close()
			return do(cmd.OutOrStdout(), p)
		},
	}
}

func newPolicyRemove(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "remove",
		Short: "Remove the policy, so that programs load as before",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return policy.Remove(*dir) },
	}
}

func confirmPolicy(w io.Writer, p *policy.Policy) error {
	if err := p.Confirm(); err != nil {
		return err
	}
	return showMode(w, p)
}

func showMode(w io.Writer, p *policy.Policy) error {
	m, err := p.Mode()
	if err != nil {
		return err
	}
	switch {
	case !m.Enforcing:
		fmt.Fprintln(w, "it logs, and refuses nothing")
	case m.Left == 0:
		fmt.Fprintln(w, "it refuses what it does not admit, until it is removed")
	default:
		fmt.Fprintf(w, "it refuses what it does not admit, for %s more: bpfreplay policy confirm\n", m.Left.Round(time.Second))
	}
	return nil
}

func showPolicy(w io.Writer, p *policy.Policy) error {
	if err := showMode(w, p); err != nil {
		return err
	}
	ids, err := p.Keyrings()
	if err != nil {
		return err
	}
	for _, id := range ids {
		fmt.Fprintf(w, "it admits programs signed by a key of keyring %s\n", id)
	}
	c, err := p.Counts()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d signed, %d loaded by those or by the kernel, %d not admitted\n", c.Signed, c.ByProgram, c.Refused)
	all, err := p.Refusals()
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range all {
		did := "logged"
		if r.Enforced {
			did = "refused"
		}
		why := r.Why
		if r.Keyring > 0 {
			why += fmt.Sprintf(" (%s)", r.Keyring)
		}
		fmt.Fprintf(tw, "%s\t%s after boot\t%s %q\tby %q, pid %d\t%s\n", did, r.Since.Round(time.Millisecond), r.Type, r.Program, r.Command, r.PID, why)
	}
	return tw.Flush()
}
