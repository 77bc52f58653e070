package guest

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// FreeMemory returns three quarters of this machine's available memory, in MiB: MemAvailable of
// proc_meminfo(5), Linux 3.14.
func FreeMemory() (int, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(data), "MemAvailable:")
	if !ok {
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("/proc/meminfo: MemAvailable: %w", err)
	}
	return kib / 1024 * 3 / 4, nil
}
