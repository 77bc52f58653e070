package guest

import (
	"context"
	"errors"
	"testing"

	"gotest.tools/v3/assert"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	b := NewBudget(2, 1024)
	_, err := b.Take(t.Context(), 3, 1)
	assert.ErrorContains(t, err, "does not fit")
	_, err = b.Take(t.Context(), 1, 1025)
	assert.ErrorContains(t, err, "does not fit")

	one, err := b.Take(t.Context(), 1, 1024)
	assert.NilError(t, err)
	full, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Take(full, 1, 1)
	assert.Assert(t, errors.Is(err, context.Canceled))
	one()
	// The Take that failed holds nothing.
	all, err := b.Take(t.Context(), 2, 1024)
	assert.NilError(t, err)
	all()

	free, err := (*Budget)(nil).Take(t.Context(), 100, 1<<20)
	assert.NilError(t, err)
	free()
}
