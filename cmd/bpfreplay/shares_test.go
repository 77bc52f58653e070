package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// needServer skips a test if virtiofsd is missing.
func needServer(t *testing.T) {
	t.Helper()
	if path, err := guestexec.FindRootServer(); path == "" {
		t.Skip(err)
	}
}

// What a program writes to a shared directory, also by mmap, is on this machine; what it writes
// elsewhere is not. That holds for copied files and for this machine's root.
func TestRWDir(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	needServer(t)
	t.Chdir(root(t))
	var with []string
	for _, name := range strings.Fields("sh cat mkdir touch ln readlink dd") {
		with = append(with, "--with", need.Program(t, name))
	}
	for name, flags := range map[string][]string{"files": with, "host": {"--rootfs", "host"}} {
		t.Run(name, func(t *testing.T) {
			if name == "host" {
				need.Root(t)
			}
			dir := t.TempDir()
			rw, more, other := filepath.Join(dir, "rw"), filepath.Join(dir, "more, with a comma"), filepath.Join(dir, "other")
			for _, d := range []string{rw, more, other} {
				assert.NilError(t, os.Mkdir(d, 0o755))
			}
			assert.NilError(t, os.WriteFile(filepath.Join(rw, "given"), []byte("of this machine\n"), 0o600))
			args := append([]string{"exec", "--accel", "tcg", "--rwdir", rw, "--rwdir", more}, flags...)
			out, errs, status := outcome(t, command, append(args, "--", "sh", "-c", `set -e
				cd "$1"; cat given; echo of the guest >>given; mkdir -p a/b; ln -s ../given a/link; dd if=/dev/zero of=a/big bs=1M count=3 2>/dev/null
				cd "$2"; echo more >more
				mkdir -p "$3"; touch "$3/lost"; touch /usr/lost 2>/dev/null || true; exit 7`, "sh", rw, more, other)...)
			assert.Check(t, is.Equal(status, 7), errs)
			assert.Check(t, is.Equal(out, "of this machine\n"))
			for file, want := range map[string]string{filepath.Join(rw, "given"): "of this machine\nof the guest\n", filepath.Join(more, "more"): "more\n"} {
				data, err := os.ReadFile(file)
				assert.Check(t, err)
				assert.Check(t, is.Equal(string(data), want))
			}
			link, err := os.Readlink(filepath.Join(rw, "a/link"))
			assert.Check(t, err)
			assert.Check(t, is.Equal(link, "../given"))
			info, err := os.Stat(filepath.Join(rw, "a/big"))
			assert.NilError(t, err)
			assert.Check(t, is.Equal(info.Size(), int64(3<<20)))
			assert.Check(t, is.Len(files(t, other), 0))
			_, err = os.Stat("/usr/lost")
			assert.Check(t, os.IsNotExist(err))
		})
	}
}

// The server of a directory can change that directory and nothing else of this machine. A read-only
// mount below it stays read-only.
func TestRWDirServersMounts(t *testing.T) {
	need.Root(t)
	need.Program(t, "unshare")
	dir := t.TempDir()
	for _, d := range []string{"rw", "rw/fixed", "other"} {
		assert.NilError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	out, errs, status := outcome(t, "unshare", "--mount", "sh", "-c", `cd "$2" && mount --bind -o ro rw/fixed rw/fixed &&
		"$1" `+guestexec.HostRootArg+` "$2/rw" /bin/sh -c 'cd "$1"; touch rw/new; touch other/new; touch rw/fixed/new' sh "$2"`, "sh", command, dir)
	assert.Check(t, is.Equal(out, ""))
	assert.Check(t, is.Equal(strings.Count(errs, "Read-only file system"), 2), errs)
	assert.Check(t, is.Equal(status, 1))
	assert.DeepEqual(t, files(t, filepath.Join(dir, "rw")), []string{"fixed", "new"})
	assert.Check(t, is.Len(files(t, filepath.Join(dir, "other")), 0))
	assert.Check(t, is.Len(files(t, filepath.Join(dir, "rw/fixed")), 0))
}

// Directories that cannot be shared are refused before a guest starts.
func TestRWDirRefused(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	t.Chdir(root(t))
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	assert.NilError(t, os.WriteFile(file, nil, 0o644))
	for name, want := range map[string]string{
		filepath.Join(dir, "missing"): "--rwdir " + filepath.Join(dir, "missing") + ": no such file or directory",
		file:                          "--rwdir " + file + ": not a directory",
		"/":                           "--rwdir /: /: this cannot be taken into a guest",
		"/proc/self":                  "--rwdir /proc/self: /proc/self: guests have a /proc of their own",
	} {
		out, errs, status := outcome(t, command, "exec", "--accel", "tcg", "--rwdir", name, "--", "/bin/true")
		assert.Check(t, is.Equal(out, ""))
		assert.Check(t, is.Contains(errs, want))
		assert.Check(t, is.Equal(status, cli.ExitTrouble))
	}
	need.Root(t)
	need.Program(t, "unshare")
	out, errs, status := outcome(t, "unshare", "--mount", "sh", "-c", `for dir in /usr/lib/qemu /usr/libexec; do
		[ ! -e $dir ] || mount -t tmpfs tmpfs $dir; done; "$1" exec --accel tcg --rwdir "$2" -- /bin/true`, "sh", command, dir)
	assert.Check(t, is.Equal(out, ""))
	assert.Check(t, is.Contains(errs, "no virtiofsd on this machine: install Debian's package virtiofsd"))
	assert.Check(t, is.Equal(status, cli.ExitTrouble))
}

// A program in a guest reaches the given port of this machine's loopback, by name and by address,
// and no other port or address.
func TestHostPort(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	t.Chdir(root(t))
	bash := need.Program(t, "bash")
	named, other := echo(t, "named"), echo(t, "other")
	script := fmt.Sprintf(`ask() { exec 3<>/dev/tcp/$1/$2 && echo hello >&3 && read -r answer <&3 && echo "$1: $answer"; exec 3>&-; } 2>/dev/null
		ask host %[1]d; ask 10.0.2.100 %[1]d; ask host %[2]d; ask 10.0.2.2 %[1]d; ask 10.0.2.2 %[2]d; ask 127.0.0.1 %[1]d
		ask 192.0.2.1 80; echo done`, named, other)
	out, errs, status := outcome(t, command, "exec", "--accel", "tcg", "--host-port", strconv.Itoa(named), "--with", bash, "--", "bash", "-c", script)
	assert.Check(t, is.Equal(status, 0), errs)
	assert.Check(t, is.Equal(out, "host: named: hello\n10.0.2.100: named: hello\ndone\n"))
	assert.Check(t, is.Equal(errs, ""))

	// Without the flag the guest has no network except its own loopback.
	out, errs, status = outcome(t, command, "exec", "--accel", "tcg", "--with", bash, "--", "bash", "-c",
		`for i in /sys/class/net/*; do echo "${i##*/}"; done`)
	assert.Check(t, is.Equal(status, 0), errs)
	assert.Check(t, is.Equal(out, "lo\n"))

	_, errs, status = outcome(t, command, "exec", "--accel", "tcg", "--host-port", "80,80", "--", "/bin/true")
	assert.Check(t, is.Equal(status, cli.ExitTrouble))
	assert.Check(t, is.Contains(errs, "--host-port: port 80 is named twice"))
}

// echo serves a port of the loopback and returns it.
func echo(t *testing.T, name string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 100)
			n, _ := c.Read(buf)
			fmt.Fprintf(c, "%s: %s", name, buf[:n])
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}
