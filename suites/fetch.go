package suites

import (
	"context"
	"fmt"
	"strings"
)

// Names returns the names of the suites that [Fetch] gets.
func Names() []string { return []string{nameKernel, nameWild} }

const (
	nameKernel = "kernel"
	nameWild   = "wild"
)

// Fetch gets a suite: [FetchKernel] or [FetchWild].
func Fetch(ctx context.Context, name string, o Options) (*Corpus, error) {
	switch name {
	case nameKernel:
		return FetchKernel(ctx, o)
	case nameWild:
		return FetchWild(ctx, o)
	}
	return nil, fmt.Errorf("no suite is called %s: there are %s", name, strings.Join(Names(), ", "))
}
