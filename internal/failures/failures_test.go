package failures_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/go-multierror"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/failures"
)

func TestAll(t *testing.T) {
	one, two := errors.New("no disk"), errors.New("no network")
	assert.NilError(t, failures.All(nil))
	assert.Equal(t, failures.All(multierror.Append(nil, one)), one)
	both := failures.All(multierror.Append(nil, one, two))
	assert.ErrorContains(t, both, "no disk")
	assert.ErrorContains(t, both, "no network")
	assert.ErrorIs(t, both, two)
}
