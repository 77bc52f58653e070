package target

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Kconfig returns the value of an object's .kconfig map of size bytes for this kernel: its version
// and configuration, with libbpf's values. The error is ESRCH if a variable that is not weak has no
// value.
func (t *Target) Kconfig(externs []artefact.Kconfig, size uint32) ([]byte, error) {
	value := make([]byte, size)
	var config map[string]string
	for i := range externs {
		e := &externs[i]
		if uint64(e.Offset)+uint64(e.Size) > uint64(size) {
			return nil, fmt.Errorf("kconfig %s: %w", e.Name, unix.EINVAL)
		}
		at := value[e.Offset : e.Offset+e.Size]
		if strings.HasPrefix(e.Name, "LINUX_") {
			if err := t.linuxValue(e, at); err != nil {
				return nil, err
			}
			continue
		}
		if config == nil {
			var err error
			if config, err = readConfig(); err != nil {
				return nil, fmt.Errorf("kconfig %s: %w", e.Name, err)
			}
		}
		text, ok := config[e.Name]
		if !ok {
			if e.Weak {
				continue
			}
			return nil, fmt.Errorf("kconfig %s is not set on this kernel: %w", e.Name, unix.ESRCH)
		}
		if err := putConfig(e, at, text); err != nil {
			return nil, fmt.Errorf("kconfig %s=%s: %w", e.Name, text, err)
		}
	}
	return value, nil
}

// linuxValue sets the variables that are not in the kernel's configuration.
func (t *Target) linuxValue(e *artefact.Kconfig, at []byte) error {
	var v uint64
	switch e.Name {
	case "LINUX_KERNEL_VERSION":
		code, err := KernelVersion()
		if err != nil {
			return err
		}
		v = uint64(code)
	case "LINUX_HAS_SYSCALL_WRAPPER":
		// System calls have wrappers (4.17): look for bpf(2)'s on this architecture.
		if _, err := t.Address(syscallWrappers[runtime.GOARCH]); err == nil || errors.Is(err, unix.EPERM) {
			v = 1
		}
	case "LINUX_HAS_BPF_COOKIE":
		if found, err := hasCookie(); err != nil {
			return err
		} else if found {
			v = 1
		}
	default:
		if e.Weak {
			return nil
		}
		return fmt.Errorf("kconfig %s: unknown variable: %w", e.Name, unix.ESRCH)
	}
	putInt(at, v)
	return nil
}

// syscallWrappers has the name of bpf(2)'s syscall wrapper by architecture. powerpc has wrappers
// without a prefix, and other architectures have none.
var syscallWrappers = map[string]string{
	"amd64": "__x64_sys_bpf", "arm64": "__arm64_sys_bpf", "s390x": "__s390x_sys_bpf",
	"riscv64": "__riscv_sys_bpf", // 6.6
}

func putInt(at []byte, v uint64) { copy(at, binary.LittleEndian.AppendUint64(nil, v)) }

// tristates has the values of libbpf's enum libbpf_tristate.
var tristates = map[string]uint64{"n": 0, "y": 1, "m": 2}

func putConfig(e *artefact.Kconfig, at []byte, text string) error {
	switch {
	case text == "y" || text == "n" || text == "m":
		return putTristate(e, at, text)
	case strings.HasPrefix(text, `"`):
		return putString(e, at, text)
	}
	if e.Type != "int" && e.Type != "char" {
		return fmt.Errorf("a number for a variable of another type: %w", unix.EINVAL)
	}
	var v uint64
	var err error
	if strings.HasPrefix(text, "-") {
		var s int64
		s, err = strconv.ParseInt(text, 0, 64)
		v = uint64(s)
	} else {
		v, err = strconv.ParseUint(text, 0, 64)
	}
	if err != nil {
		return fmt.Errorf("not a number: %w", unix.EINVAL)
	}
	if !fits(v, len(at), e.Signed) {
		return fmt.Errorf("does not fit into %d bytes: %w", len(at), unix.ERANGE)
	}
	putInt(at, v)
	return nil
}

func putTristate(e *artefact.Kconfig, at []byte, text string) error {
	switch e.Type {
	case "bool":
		if text == "m" {
			return fmt.Errorf("a module for a bool: %w", unix.EINVAL)
		}
		if text == "y" {
			at[0] = 1
		}
	case "tristate":
		putInt(at, tristates[text])
	case "char":
		at[0] = text[0]
	default:
		return fmt.Errorf("a tristate for a variable of another type: %w", unix.EINVAL)
	}
	return nil
}

// putString stores a quoted string. Like libbpf it cuts the string to the size of the variable, and
// the last byte stays NUL.
func putString(e *artefact.Kconfig, at []byte, text string) error {
	if e.Type != "char_array" {
		return fmt.Errorf("a string for a variable of another type: %w", unix.EINVAL)
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return fmt.Errorf("not a closed string: %w", unix.EINVAL)
	}
	copy(at[:len(at)-1], text[1:len(text)-1])
	return nil
}

func fits(v uint64, size int, signed bool) bool {
	if size >= 8 {
		return true
	}
	bits := uint(size * 8)
	if signed {
		s := int64(v)
		return s >= -(1<<(bits-1)) && s < 1<<(bits-1)
	}
	return v < 1<<bits
}

// readConfig reads the running kernel's configuration from where libbpf looks for it:
// /boot/config-RELEASE, then /proc/config.gz.
func readConfig() (map[string]string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	path := "/boot/config-" + unix.ByteSliceToString(u.Release[:])
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		return parseConfig(f)
	}
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return nil, fmt.Errorf("no kernel configuration in %s nor /proc/config.gz: %w", path, unix.ENOENT)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("/proc/config.gz: %w", err)
	}
	defer z.Close()
	return parseConfig(z)
}

func parseConfig(r io.Reader) (map[string]string, error) {
	config := make(map[string]string)
	s := bufio.NewScanner(r)
	for s.Scan() {
		name, value, ok := strings.Cut(s.Text(), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") {
			config[name] = value
		}
	}
	return config, s.Err()
}

// KernelVersion returns KERNEL_VERSION of the running kernel as libbpf finds it. Packages of Ubuntu
// and Debian have their upstream version elsewhere than in the release.
func KernelVersion() (uint32, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return 0, err
	}
	if b, err := os.ReadFile("/proc/version_signature"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 3 {
			if v, ok := versionCode(f[2]); ok {
				return v, nil
			}
		}
	}
	if _, rest, ok := strings.Cut(unix.ByteSliceToString(u.Version[:]), "Debian "); ok {
		if v, ok := versionCode(rest); ok {
			return v, nil
		}
	}
	release := unix.ByteSliceToString(u.Release[:])
	v, ok := versionCode(release)
	if !ok {
		return 0, fmt.Errorf("kernel release %q is not a version: %w", release, unix.EINVAL)
	}
	return v, nil
}

// versionCode reads MAJOR.MINOR.PATCH at the start of s. The patch level is at most 255, as in
// KERNEL_VERSION, and 0 if there is none, as in Debian's "7.3~rc7".
func versionCode(s string) (uint32, bool) {
	var major, minor, patch uint32
	if n, _ := fmt.Sscanf(s, "%d.%d.%d", &major, &minor, &patch); n < 2 {
		return 0, false
	}
	return major<<16 | minor<<8 | min(patch, 255), true
}
