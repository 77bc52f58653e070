package artefacts

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

type signFlags struct {
	key, cert, out string
	contracts      []string
	detached       bool
	signatures     cli.Each
}

// NewSign returns the command sign.
func NewSign() *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEY --cert CERTIFICATE",
		Short: "Sign a loader program that gen wrote, for the kernels that verify signatures",
		Long: `sign adds signatures to a file that gen wrote, and changes nothing else in it. Kernels
have three incompatible ways to verify a loader program, called contracts. By default
sign adds a signature for each:

` + contractList() + `
docs/signing.md describes what a signature covers, and why contract a is the weakest.

Keys are RSA (2048 to 4096 bits) or ECDSA (P-256, P-384), in PEM or DER; the
certificate must have a subject key identifier. sign refuses features that a signature
would not cover, and names them: arenas, freplace programs, members of struct_ops types,
kconfig values that are numbers or text.

For a key that is not in a file, --detached prints the SHA-256 to sign for each contract.
--signature adds the resulting signatures, as CMS messages or bare (RSA with PKCS #1
v1.5; ECDSA in DER, or as two numbers).`,
		Example: `  bpfreplay sign my.bpfreplay --key key.pem --cert cert.pem
  bpfreplay sign my.bpfreplay --cert cert.pem --detached
  bpfreplay sign my.bpfreplay --cert cert.pem --signature b=b.sig --signature a-marker=am.sig`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cli.AddFlags(cmd, cli.Flags{
		"key": &f.key, "cert": &f.cert, "out": &f.out, "contract": &f.contracts, "detached": &f.detached, "signature": &f.signatures,
	})
	_ = cmd.MarkFlagRequired("cert")
	cmd.MarkFlagsOneRequired("key", "detached", "signature")
	cmd.MarkFlagsMutuallyExclusive("key", "detached", "signature")
	cmd.MarkFlagsMutuallyExclusive("contract", "signature")
	cmd.MarkFlagsMutuallyExclusive("out", "detached")
	return cmd
}

func contractList() string {
	var b strings.Builder
	for _, c := range contract.All {
		fmt.Fprintf(&b, "  %-9s %s\n", c, c.Kernels())
	}
	return b.String()
}

func parseContract(text string) (contract.Contract, error) {
	c := contract.Contract(text)
	if !c.Known() {
		return "", fmt.Errorf("contract %q: there are %s", text, strings.Join(contract.Names(), ", "))
	}
	return c, nil
}

func (f *signFlags) run(cmd *cobra.Command, path string) error {
	var contracts []contract.Contract
	for _, text := range f.contracts {
		c, err := parseContract(text)
		if err != nil {
			return err
		}
		contracts = append(contracts, c)
	}
	a, err := artefact.ReadFile(path)
	if err != nil {
		return err
	}
	cert, err := readCertificate(cmd.ErrOrStderr(), f.cert)
	if err != nil {
		return err
	}
	switch {
	case f.detached:
		return printRequests(cmd.OutOrStdout(), a, contracts)
	case f.key != "":
		var key crypto.Signer
		if key, err = f.readKey(cmd.ErrOrStderr()); err != nil {
			return err
		}
		err = sign.Sign(a, key, cert, contracts...)
	default:
		err = f.attach(a, cert)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f.out = cmp.Or(f.out, path)
	file, err := a.MarshalBinary()
	if err == nil {
		err = renameio.WriteFile(f.out, file, 0o644)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.out, err)
	}
	for i := range a.Signed.List {
		s := &a.Signed.List[i]
		fmt.Fprintf(cmd.OutOrStdout(), "%s: signed for %s (contract %s) by key %x, %d bytes\n", f.out, s.Contract.Kernels(), s.Contract, a.Signed.KeyID, len(s.CMS))
	}
	return nil
}

func (f *signFlags) readKey(w io.Writer) (crypto.Signer, error) {
	key, exposed, err := sign.ReadKey(f.key)
	if exposed {
		fmt.Fprintf(w, "bpfreplay: warning: other users may read the key %s: chmod 600 it\n", f.key)
	}
	return key, err
}

// readCertificate reads a certificate. It prints a note if the certificate is not valid now;
// kernels do not check that.
func readCertificate(w io.Writer, path string) (*x509.Certificate, error) {
	cert, err := sign.ReadCertificate(path)
	if err != nil {
		return nil, err
	}
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		fmt.Fprintf(w, "bpfreplay: note: the certificate %s is valid from %s to %s; kernels do not look at that\n",
			path, cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly))
	}
	return cert, nil
}

func printRequests(w io.Writer, a *artefact.Artefact, contracts []contract.Contract) error {
	requests, err := sign.Requests(a, contracts)
	if err != nil {
		return err
	}
	for _, r := range requests {
		fmt.Fprintf(w, "%s %x\n", r.Contract, r.Digest)
	}
	return nil
}

// maxReturned bounds the size of an external signer's result, in bytes.
const maxReturned = artefact.MaxCMS

func (f *signFlags) attach(a *artefact.Artefact, cert *x509.Certificate) error {
	returned := make(map[contract.Contract][]byte)
	for _, text := range f.signatures {
		name, path, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--signature %s: want CONTRACT=FILE", text)
		}
		c, err := parseContract(name)
		if err != nil {
			return fmt.Errorf("--signature %s: %w", text, err)
		}
		if returned[c] != nil {
			return fmt.Errorf("--signature %s: contract %s is there twice", text, c)
		}
		if returned[c], err = readSignature(path); err != nil {
			return fmt.Errorf("--signature %s: %w", text, err)
		}
	}
	return sign.Attach(a, cert, returned)
}

func readSignature(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxReturned+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0 || len(data) > maxReturned:
		return nil, fmt.Errorf("it has %d bytes or more, and a signature has 1 to %d", len(data), maxReturned)
	}
	return data, nil
}

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
