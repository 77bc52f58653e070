package bpfsys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Levels of the verifier's log (include/linux/bpf_verifier.h). Errors are printed at
// each of them.
const (
	logInsns = 1 // BPF_LOG_LEVEL1: every instruction that is verified
	logStats = 4 // BPF_LOG_STATS, 5.2
)

// LogLevel is the level for the log of a program whose load failed. What the verifier
// gives up on after a million instructions has a log of as many lines, which takes
// longer to write than the program to verify, and says nothing but the last one.
func LogLevel(err error) uint32 {
	if errors.Is(err, unix.E2BIG) {
		return logStats
	}
	return logInsns
}
