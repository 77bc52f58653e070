// Package lskel makes light skeletons with bpftool for tests, and parses them.
package lskel

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/testkey"
)

// Signed is a loader program that bpftool has generated and signed.
type Signed struct{ Insns, Blob, CMS, Excl []byte }

// Sign generates and signs the loader program of an object with bpftool. It skips the test if this
// machine's bpftool cannot sign, which takes a build with libcrypto (7.7).
func Sign(t testing.TB, key testkey.Key, object string) Signed {
	t.Helper()
	tool, err := exec.LookPath("bpftool")
	if err != nil {
		t.Skip("needs bpftool, which is not in PATH")
	}
	version, err := exec.Command(tool, "version").CombinedOutput()
	assert.NilError(t, err)
	if !bytes.Contains(version, []byte("crypto")) {
		t.Skipf("needs a bpftool that signs; this one has not the feature crypto:\n%s", version)
	}
	dir := t.TempDir()
	k, c := key.Write(t, dir)
	path, err := filepath.Abs(object)
	assert.NilError(t, err)
	cmd := exec.Command(tool, "gen", "skeleton", "-S", "-k", k, "-i", c, path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	header, err := cmd.Output()
	assert.NilError(t, err, "%s", stderr.String())
	var s Signed
	for name, to := range map[string]*[]byte{"opts_insn": &s.Insns, "opts_data": &s.Blob, "opts_sig": &s.CMS, "opts_excl_hash": &s.Excl} {
		*to, err = array(header, name)
		assert.NilError(t, err)
	}
	return s
}

// array returns the bytes of an array of a header, which is one string literal with the escapes
// \xNN and \0.
func array(header []byte, name string) ([]byte, error) {
	found := regexp.MustCompile(`(?s)char ` + name + `\[\][^=]*= "(.*?)";`).FindSubmatch(header)
	if found == nil {
		return nil, fmt.Errorf("the header has no %s", name)
	}
	text := strings.ReplaceAll(string(found[1]), "\\\n", "")
	var out []byte
	for len(text) > 0 {
		switch {
		case strings.HasPrefix(text, `\x`) && len(text) >= 4:
			b, err := strconv.ParseUint(text[2:4], 16, 8)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out, text = append(out, byte(b)), text[4:]
		case strings.HasPrefix(text, `\0`):
			out, text = append(out, 0), text[2:]
		default:
			return nil, fmt.Errorf("%s: unexpected %q", name, text[:1])
		}
	}
	return out, nil
}
