package apt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Keyrings are the files of the package debian-archive-keyring with Debian's archive keys, present
// and former. The keys are not shipped with this program, so a key that Debian withdraws is
// withdrawn here, too.
var Keyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-removed-keys.gpg",
}

// ReadKeyrings reads OpenPGP key rings, armored or not. The first file must exist; the others need
// not.
func ReadKeyrings(files []string) (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	for i, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && i > 0 {
			continue
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("no Debian archive keys in %s: install the package debian-archive-keyring", file)
		}
		if err != nil {
			return nil, fmt.Errorf("debian archive keys: %w", err)
		}
		read := openpgp.ReadKeyRing
		if bytes.HasPrefix(data, []byte("-----BEGIN")) {
			read = openpgp.ReadArmoredKeyRing
		}
		more, err := read(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("debian archive keys in %s: %w", file, err)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// OpenInRelease checks the signature of an InRelease file and returns the text that it covers. With
// atDate, keys must have been valid on the date in the file, for old archives.
func OpenInRelease(keys openpgp.EntityList, file []byte, atDate bool) ([]byte, error) {
	block, _ := clearsign.Decode(file)
	if block == nil {
		return nil, fmt.Errorf("%w: InRelease is not a signed message", digest.ErrIntegrity)
	}
	signature, err := io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: InRelease: %w", digest.ErrIntegrity, err)
	}
	if err := checkSignature(keys, block.Bytes, signature, signingTime(block.Plaintext, atDate)); err != nil {
		return nil, fmt.Errorf("%w: InRelease: %w", digest.ErrIntegrity, err)
	}
	return block.Plaintext, nil
}

// CheckDetached checks a Release file against its Release.gpg.
func CheckDetached(keys openpgp.EntityList, file, signature []byte, atDate bool) error {
	if block, err := armor.Decode(bytes.NewReader(signature)); err == nil {
		if signature, err = io.ReadAll(block.Body); err != nil {
			return fmt.Errorf("%w: Release.gpg: %w", digest.ErrIntegrity, err)
		}
	}
	if err := checkSignature(keys, file, signature, signingTime(file, atDate)); err != nil {
		return fmt.Errorf("%w: Release.gpg: %w", digest.ErrIntegrity, err)
	}
	return nil
}

// checkSignature requires one good signature by a known key. Debian signs with several keys, and an
// older machine only knows some of them.
func checkSignature(keys openpgp.EntityList, message, signature []byte, at time.Time) error {
	config := &packet.Config{Time: func() time.Time { return at }}
	err := errors.New("no signature")
	for packets := packet.NewOpaqueReader(bytes.NewReader(signature)); ; {
		one, readErr := packets.Next()
		if errors.Is(readErr, io.EOF) {
			return err
		}
		if readErr != nil {
			return fmt.Errorf("damaged signature: %w", readErr)
		}
		var buf bytes.Buffer
		if err := one.Serialize(&buf); err != nil {
			return fmt.Errorf("damaged signature: %w", err)
		}
		_, err = openpgp.CheckDetachedSignature(keys, bytes.NewReader(message), &buf, config)
		if err == nil {
			return nil
		}
	}
}

// signingTime returns the time at which keys must be valid.
func signingTime(release []byte, atDate bool) time.Time {
	if !atDate {
		return time.Now()
	}
	// A Release file without a date fails later, with a better error.
	var at time.Time
	_ = readStanzas(bytes.NewReader(release), func(s stanza) error {
		at, _ = parseDate(s["date"])
		return nil
	})
	return at
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date", s)
}

// Release has the needed fields of a Release file.
type Release struct {
	Suite, Codename string
	ValidUntil      time.Time // zero: no limit
	ByHash          bool
	files           map[string]digest.Digest
}

// ParseRelease parses the text of a Release file.
func ParseRelease(text []byte) (*Release, error) {
	var r *Release
	err := readStanzas(bytes.NewReader(text), func(s stanza) error {
		if r != nil {
			return errors.New("more than one paragraph")
		}
		r = &Release{
			Suite:    s["suite"],
			Codename: s["codename"],
			ByHash:   s["acquire-by-hash"] == "yes",
			files:    make(map[string]digest.Digest),
		}
		if _, err := parseDate(s["date"]); err != nil {
			return err
		}
		if until := s["valid-until"]; until != "" {
			t, err := parseDate(until)
			if err != nil {
				return err
			}
			r.ValidUntil = t
		}
		return r.readFiles(s["sha256"])
	})
	if err == nil && r == nil {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("release file: %w", err)
	}
	return r, nil
}

func (r *Release) readFiles(list string) error {
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return fmt.Errorf("damaged line %q", line)
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || size < 0 || !digest.IsSHA256(fields[0]) {
			return fmt.Errorf("damaged line %q", line)
		}
		r.files[fields[2]] = digest.Digest{SHA256: fields[0], Size: size}
	}
	return nil
}

// Is reports whether the file is for that suite. Otherwise a server could pass off the signed file
// of another suite.
func (r *Release) Is(suite string) bool {
	return slices.Contains([]string{r.Suite, r.Codename}, suite)
}

// Index returns the smallest form of the package index that can be read.
func (r *Release) Index(arch string) (name string, want digest.Digest, err error) {
	for _, suffix := range []string{".xz", ".gz", ""} {
		name := "main/binary-" + arch + "/Packages" + suffix
		if want, ok := r.files[name]; ok {
			return name, want, nil
		}
	}
	return "", digest.Digest{}, fmt.Errorf("release file: no package index for %s", arch)
}
