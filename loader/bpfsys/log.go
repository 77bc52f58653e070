package bpfsys

import (
	"errors"
	"regexp"
	"slices"
	"strings"

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

// statistics are how lines begin with which the verifier ends a log, whatever it has
// found (print_verification_stats; those of each subprogram from 7.3 on).
var statistics = regexp.MustCompile(`^(processed \d+ insns|verification time \d|stack depth |subprog \d+ \(|insns processed|max_states)`)

// Statistics says whether a line of a verifier's log does not say what is wrong.
func Statistics(line string) bool { return statistics.MatchString(line) }

// LastLine is the last line of a verifier's log that says what is wrong, "" if none
// does.
func LastLine(log string) string {
	// From 7.3 on an explanation and advice follow.
	log, _, _ = strings.Cut(log, "\nVerification failed: ")
	for _, line := range slices.Backward(strings.Split(strings.TrimRight(log, "\x00"), "\n")) {
		if line = strings.TrimSpace(line); line != "" && !Statistics(line) {
			return line
		}
	}
	return ""
}
