package bpfsys

import (
	"errors"
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

// LogLevel returns the level for the log of a program whose load failed. What the verifier gives up
// on after a million instructions has a log of as many lines, which takes longer to write than the
// program to verify, and says nothing but the last one.
func LogLevel(err error) uint32 {
	if errors.Is(err, unix.E2BIG) {
		return logStats
	}
	return logInsns
}

// LogSize is the size of the buffer for a log in bytes: what libbpf starts with where
// it wants a log of a failure. A longer log is cut at its start (since 6.4) or its end.
const LogSize = 1 << 20

// WithLog issues a command without a log, which costs time, and again with one if it
// fails. A failure that goes away, such as a lack of memory, does not count.
func WithLog(issue func(level uint32, log []byte) error) (string, error) {
	err := issue(0, nil)
	if err == nil {
		return "", nil
	}
	log := make([]byte, LogSize)
	if issue(LogLevel(err), log) == nil {
		return "", nil
	}
	return CString(log), err
}

// SetLog asks for the verifier's log in log, nil for none.
func (a *ProgLoadAttr) SetLog(m *Memory, level uint32, log []byte) {
	if log != nil {
		a.LogLevel, a.LogSize, a.Log = level, uint32(len(log)), m.At(log)
	}
}

// LoadBTF loads types, with the kernel's log in log, nil for none. The caller owns the fd.
func LoadBTF(types, log []byte) (int, error) {
	var m Memory
	defer m.Release()
	a := BTFLoadAttr{BTF: m.At(types), Size: uint32(len(types))}
	if log != nil {
		a.LogLevel, a.LogSize, a.Log = logInsns, uint32(len(log)), m.At(log)
	}
	return Call(BTFLoad, &a)
}

// Statistics reports whether a line of a verifier's log is one of those with which it
// ends, whatever was found (print_verification_stats; of each subprogram from 7.3 on).
func Statistics(line string) bool {
	for _, begin := range []string{"stack depth ", "insns processed", "max_states"} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return counts(line, "processed ", " insns") || counts(line, "verification time ", "") || counts(line, "subprog ", " (")
}

// counts reports whether a line begins with a number between two words.
func counts(line, before, after string) bool {
	number, ok := strings.CutPrefix(line, before)
	rest := strings.TrimLeft(number, "0123456789")
	return ok && rest != number && strings.HasPrefix(rest, after)
}

// LastLine returns the last line of a verifier's log that says what is wrong, "" if none does.
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
