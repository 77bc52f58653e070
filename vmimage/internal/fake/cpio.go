package fake

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
	"github.com/u-root/uio/uio"
	"gotest.tools/v3/assert"
)

// Listing unpacks archives that follow each other as the kernel does: after
// the end of one and zeros, the next begins on a boundary of four bytes.
func Listing(t testing.TB, data []byte) []string {
	t.Helper()
	var out []string
	for len(data) > 0 {
		r := bytes.NewReader(data)
		records := cpio.Newc.Reader(r)
		for {
			rec, err := records.ReadRecord()
			if err == io.EOF {
				break
			}
			assert.NilError(t, err)
			content, err := uio.ReadAll(rec)
			assert.NilError(t, err)
			line := fmt.Sprintf("%s %o", rec.Name, rec.Mode)
			if rec.Rmajor != 0 {
				line += fmt.Sprintf(" %d:%d", rec.Rmajor, rec.Rminor)
			}
			if len(content) > 0 && len(content) < 100 {
				line += " " + string(content)
			}
			assert.Equal(t, rec.MTime+rec.UID+rec.GID+rec.Major+rec.Minor, uint64(0), rec.Name)
			assert.Equal(t, rec.NLink, uint64(1))
			out = append(out, line)
		}
		// The reader does not say where it stopped.
		end := bytes.Index(data, []byte(cpio.Trailer))
		assert.Assert(t, end >= 0)
		end += len(cpio.Trailer)
		end += -end & 511
		data = data[end:]
		out = append(out, "---")
	}
	return out
}
