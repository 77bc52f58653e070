package await

import (
	"context"
	"errors"
	"testing"

	"gotest.tools/v3/assert"
)

// Once the command is told to end, it does not wait for work that only computes.
func TestAwait(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	go func() { <-began; cancel() }()
	_, err := Work(ctx, func() (int, error) { close(began); <-never; return 1, nil })
	assert.ErrorIs(t, err, context.Canceled)

	n, err := Work(t.Context(), func() (int, error) { return 1, nil })
	assert.NilError(t, err)
	assert.Equal(t, n, 1)
	failed := errors.New("failed")
	_, err = Load(t.Context(), func() (int, error) { return 0, failed })
	assert.ErrorIs(t, err, failed)
}
