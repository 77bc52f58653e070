package guest

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/semaphore"
)

// Budget bounds what the guests of one process take of this machine together,
// whichever runs they belong to. A nil Budget bounds nothing.
type Budget struct {
	cpus, memory          *semaphore.Weighted
	maxCPUs, maxMemoryMiB int64
}

// NewBudget allows guests that have this many virtual processors, and MiB of
// memory, between them.
func NewBudget(cpus, memoryMiB int) *Budget {
	return &Budget{
		cpus: semaphore.NewWeighted(int64(cpus)), maxCPUs: int64(cpus),
		memory: semaphore.NewWeighted(int64(memoryMiB)), maxMemoryMiB: int64(memoryMiB),
	}
}

// Take waits until there is room for a guest. The caller calls release when the
// guest is gone. A guest that is larger than the whole budget is an error, for it
// would wait for ever.
func (b *Budget) Take(ctx context.Context, cpus, memoryMiB int) (release func(), err error) {
	if b == nil {
		return func() {}, nil
	}
	c, m := int64(cpus), int64(memoryMiB)
	if c > b.maxCPUs || m > b.maxMemoryMiB {
		return nil, fmt.Errorf("a guest with %d processors and %d MiB does not fit into the budget of %d and %d MiB", c, m, b.maxCPUs, b.maxMemoryMiB)
	}
	if err := b.cpus.Acquire(ctx, c); err != nil {
		return nil, err
	}
	if err := b.memory.Acquire(ctx, m); err != nil {
		b.cpus.Release(c)
		return nil, err
	}
	return func() {
		b.memory.Release(m)
		b.cpus.Release(c)
	}, nil
}

// Guests is how many guests there is room for at the same time, at least one:
// that one then says why it does not fit.
func (b *Budget) Guests() int {
	if b == nil {
		return math.MaxInt
	}
	return int(max(min(b.maxCPUs/GuestCPUs, b.maxMemoryMiB/GuestMemoryMiB), 1))
}
