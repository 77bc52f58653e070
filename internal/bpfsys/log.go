package bpfsys

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Levels of the verifier's log (include/linux/bpf_verifier.h). Each includes errors.
const (
	logInsns = 1 // BPF_LOG_LEVEL1: every instruction that is verified
	logStats = 4 // BPF_LOG_STATS, 5.2
)

// LogLevel returns the log level for a program whose load failed. If the verifier gave up after a
// million instructions, a full log has as many lines. It takes longer to write than the program
// takes to verify, and only its last line helps.
func LogLevel(err error) uint32 {
	if errors.Is(err, unix.E2BIG) {
		return logStats
	}
	return logInsns
}

// LogSize is the size in bytes of a log buffer: libbpf's initial size for the log of a failure. A
// longer log loses its start (since 6.4) or its end.
const LogSize = 1 << 20

// WithLog issues a command without a log, which costs time. If it fails, WithLog issues it again
// with one. A failure that does not occur again, such as a lack of memory, is not an error.
func WithLog(issue func(level uint32, log []byte) error) (string, error) {
	err := issue(0, nil)
	if err == nil {
		return "", nil
	}
	log, again := ReadLog(LogLevel(err), issue)
	if again == nil {
		return "", nil
	}
	return log, err
}

// ReadLog issues a command with a log and returns the log. The verifier's reason is at its end,
// which kernels before 6.4 drop if the log does not fit. ReadLog then issues the command once more
// without the listing of instructions, and appends that log after a line "[...]".
func ReadLog(level uint32, issue func(level uint32, log []byte) error) (string, error) {
	log := make([]byte, LogSize)
	err := issue(level, log)
	text := CString(log)
	if err == nil || level != logInsns || !cut(text) {
		return text, err
	}
	clear(log)
	err = issue(logStats, log)
	if end := CString(log); end != text { // BTF_LOAD has one level
		text += "\n[...]\n" + end
	}
	return text, err
}

// cut reports whether a log has filled its buffer and does not end with statistics, as complete
// ones do.
func cut(log string) bool {
	if len(log) < LogSize-1 {
		return false
	}
	log = strings.TrimRight(log, "\n")
	return !Statistics(log[strings.LastIndexByte(log, '\n')+1:])
}

// SetLog requests the verifier's log in log, unless it is nil.
func (a *ProgLoadAttr) SetLog(m *Memory, level uint32, log []byte) {
	if log != nil {
		a.LogLevel, a.LogSize, a.Log = level, uint32(len(log)), m.At(log)
	}
}

// LoadBTF loads types. The kernel's log goes to log, unless it is nil. The caller owns the fd.
func LoadBTF(types, log []byte) (int, error) {
	var m Memory
	defer m.Release()
	a := BTFLoadAttr{BTF: m.At(types), Size: uint32(len(types))}
	if log != nil {
		a.LogLevel, a.LogSize, a.Log = logInsns, uint32(len(log)), m.At(log)
	}
	return Call(BTFLoad, &a)
}

// Statistics reports whether a line belongs to the statistics at the end of every verifier's log
// (print_verification_stats; one per subprogram from 7.3 on).
func Statistics(line string) bool {
	for _, begin := range []string{"stack depth ", "insns processed", "max_states"} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return counts(line, "processed ", " insns") || counts(line, "verification time ", "") || counts(line, "subprog ", " (")
}

// counts reports whether a line begins with before, a number, and after.
func counts(line, before, after string) bool {
	number, ok := strings.CutPrefix(line, before)
	rest := strings.TrimLeft(number, "0123456789")
	return ok && rest != number && strings.HasPrefix(rest, after)
}

// LastLine returns the last line of a verifier's log that describes an error, "" if none does.
func LastLine(log string) string {
	// From 7.3 on the log ends with an explanation and advice.
	log, _, _ = strings.Cut(log, "\nVerification failed: ")
	for _, line := range slices.Backward(strings.Split(strings.TrimRight(log, "\x00"), "\n")) {
		if line = strings.TrimSpace(line); line != "" && !Statistics(line) {
			return line
		}
	}
	return ""
}
