package artefacts

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// NewVerify returns the command verify.
func NewVerify() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "verify FILE --cert CERTIFICATE",
		Short: "Verify the signatures of a loader program, without a kernel",
		Long: `verify checks each signature of a file that sign wrote, like a kernel whose keyring has
this certificate. It reports the reason for a failure: the instructions or the blob were
changed, another key has signed, or kernels do not accept the message. The exit status
is 1 if a signature does not verify, or if there is none.

The manifest is not signed: verify vouches only for the loader program in the file.`,
		Example: `  bpfreplay verify my.bpfreplay --cert cert.pem`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := artefact.ReadFile(args[0])
			if err != nil {
				return err
			}
			cert, err := readCertificate(cmd.ErrOrStderr(), path)
			if err != nil {
				return err
			}
			return verify(cmd.OutOrStdout(), args[0], a, cert)
		},
	}
	cli.AddFlags(cmd, cli.Flags{"cert": &path})
	_ = cmd.MarkFlagRequired("cert")
	return cmd
}

func verify(w io.Writer, path string, a *artefact.Artefact, cert *x509.Certificate) error {
	results, err := sign.VerifyArtefact(a, cert)
	if errors.Is(err, sign.ErrUnsigned) {
		fmt.Fprintf(w, "%s: %v\n", path, err)
		return cli.ErrFailed
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Fprintf(w, "%s: contract %s (%s): %v\n", path, r.Contract, r.Contract.Kernels(), r.Err)
			err = cli.ErrFailed
			continue
		}
		fmt.Fprintf(w, "%s: contract %s (%s): signed by key %x\n", path, r.Contract, r.Contract.Kernels(), cert.SubjectKeyId)
	}
	return err
}
