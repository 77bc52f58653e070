package boot

import (
	"context"
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// kernelModules are modules of the kernel with functions that the Linux selftests call.
var kernelModules = []string{"nf_conntrack", "nf_nat"}

// TestModules returns the modules that guests for the Linux selftests load first. If they cannot be
// built, the cases that need them fail by themselves.
func TestModules(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error) {
	first := guest.Preloaded{Kernel: kernelModules}
	m, err := suites.BuildModules(ctx, suites.ModuleOptions{Store: s, Kernel: k, Say: note})
	switch {
	case errors.Is(err, digest.ErrIntegrity) || ctx.Err() != nil:
		return first, err
	case err != nil:
		note(fmt.Sprintf("%v; cases that need them are unsupported", err))
		return first, nil
	case m.Reason != "":
		note(fmt.Sprintf("there are no test modules for kernel %s, so cases that need them are unsupported: %s", k.Release, m.Reason))
		return first, nil
	}
	for _, file := range m.Files {
		first.Files = append(first.Files, s.Cache().SuitePath(file))
	}
	note("test modules: " + m.About())
	return first, nil
}
