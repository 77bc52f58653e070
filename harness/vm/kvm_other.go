//go:build !amd64

package vm

import (
	"context"
	"fmt"
	"runtime"
)

// probeKVM always fails: the guests are x86-64, which no other processor executes.
func probeKVM(context.Context) error {
	return fmt.Errorf("an x86-64 guest cannot run natively on %s", runtime.GOARCH)
}
