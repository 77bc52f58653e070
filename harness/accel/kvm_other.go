//go:build !amd64 && !arm64

package accel

import (
	"context"
	"fmt"
	"runtime"
)

// probeKVM always fails: there is no probe guest for this architecture, so KVM counts as unusable.
func probeKVM(context.Context) error {
	return fmt.Errorf("there is no probe for KVM on %s", runtime.GOARCH)
}
