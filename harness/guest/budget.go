package guest

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/semaphore"
)

// Budget limits the virtual processors and the memory that all guests of one process use together,
// across runs. A nil Budget sets no limit.
type Budget struct {
	cpus, memory          *semaphore.Weighted
	maxCPUs, maxMemoryMiB int64
}

// NewBudget returns a Budget of this many virtual processors and this many MiB of memory.
func NewBudget(cpus, memoryMiB int) *Budget {
	return &Budget{
		cpus: semaphore.NewWeighted(int64(cpus)), maxCPUs: int64(cpus),
		memory: semaphore.NewWeighted(int64(memoryMiB)), maxMemoryMiB: int64(memoryMiB),
	}
}

// Take waits until there is room for a guest with these processors and this memory. The caller
// calls release when the guest has ended. A guest that is larger than the whole budget is an error:
// it would wait for ever.
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

// Guests returns how many guests with this memory fit at the same time. It is at least 1, so
// that [Budget.Take] gets to report why a guest does not fit.
func (b *Budget) Guests(memoryMiB int) int {
	if b == nil {
		return math.MaxInt
	}
	return int(max(min(b.maxCPUs/GuestCPUs, b.maxMemoryMiB/int64(memoryMiB)), 1))
}
