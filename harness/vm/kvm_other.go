//go:build !amd64

package vm

import (
	"context"
	"fmt"
	"runtime"
)

// probeKVM always fails: there is no probe guest for this processor yet, and without one nothing is known.
func probeKVM(context.Context) error {
	return fmt.Errorf("there is no probe for KVM on %s", runtime.GOARCH)
}
