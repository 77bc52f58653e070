package hostport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Arg {
		if err := Main(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// connection runs the command of a rule as QEMU does, with one end of a TCP connection as its
// standard input. It returns the other end, which is the guest's.
func connection(t *testing.T, rule string) net.Conn {
	t.Helper()
	_, command, ok := strings.Cut(rule, "-cmd:")
	assert.Assert(t, ok, rule)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer l.Close()
	guest, err := net.Dial("tcp", l.Addr().String())
	assert.NilError(t, err)
	t.Cleanup(func() { guest.Close() })
	theirs, err := l.Accept()
	assert.NilError(t, err)
	defer theirs.Close()
	file, err := theirs.(*net.TCPConn).File()
	assert.NilError(t, err)
	defer file.Close()
	cmd := exec.Command("sh", "-c", "exec "+strings.ReplaceAll(command, ",,", ","))
	cmd.Stdin = file
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	return guest
}

// serve answers each line. At the end of its input it sends everything that it has read to ended.
func serve(t *testing.T, name, address string) (port int, ended chan string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine has no %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	ended = make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewScanner(c)
			text := ""
			for in.Scan() {
				text += in.Text() + "\n"
				fmt.Fprintf(c, "%s: %s\n", name, in.Text())
			}
			c.Close()
			ended <- text
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, ended
}

// TestConnections: two connections to two ports reach their servers, one of them on IPv6's loopback
// only. If the guest closes its sending side, the server sees the end.
func TestConnections(t *testing.T) {
	one, oneEnded := serve(t, "one", "127.0.0.1:0")
	six, _ := serve(t, "six", "[::1]:0")
	f, err := Open([]int{one, six}, func(line string) { t.Error(line) })
	assert.NilError(t, err)
	defer f.Close()
	rules := f.Rules(os.Args[0])
	assert.Assert(t, is.Len(rules, 2))
	assert.Assert(t, is.Contains(rules[0], fmt.Sprintf("guestfwd=tcp:10.0.2.100:%d-cmd:", one)))
	first, second := connection(t, rules[0]), connection(t, rules[1])
	fmt.Fprint(first, "hello\n")
	fmt.Fprint(second, "there\n")
	assert.NilError(t, second.(*net.TCPConn).CloseWrite())
	text, err := io.ReadAll(second)
	assert.NilError(t, err)
	assert.Equal(t, string(text), "six: there\n")
	assert.NilError(t, first.(*net.TCPConn).CloseWrite())
	text, err = io.ReadAll(first)
	assert.NilError(t, err)
	assert.Equal(t, string(text), "one: hello\n")
	assert.Equal(t, <-oneEnded, "hello\n")
}

// TestCloseEndsConnections: closing a forwarder ends connections on which both ends are silent.
func TestCloseEndsConnections(t *testing.T) {
	port, ended := serve(t, "one", "127.0.0.1:0")
	f, err := Open([]int{port}, func(line string) { t.Error(line) })
	assert.NilError(t, err)
	guest := connection(t, f.Rules(os.Args[0])[0])
	fmt.Fprint(guest, "hello\n")
	_, err = bufio.NewReader(guest).ReadString('\n')
	assert.NilError(t, err)
	assert.NilError(t, f.Close())
	assert.Equal(t, <-ended, "hello\n")
	_, err = io.ReadAll(guest)
	assert.NilError(t, err)
}

// TestOtherPort: a process can reach only the ports that were named, whatever it asks for.
func TestOtherPort(t *testing.T) {
	named, _ := serve(t, "named", "127.0.0.1:0")
	other, _ := serve(t, "other", "127.0.0.1:0")
	f, err := Open([]int{named}, func(line string) { t.Error(line) })
	assert.NilError(t, err)
	defer f.Close()
	rule := f.Rules(os.Args[0])[0]
	guest := connection(t, rule[:strings.LastIndex(rule, " ")]+" "+strconv.Itoa(other))
	text, err := io.ReadAll(guest)
	assert.NilError(t, err)
	assert.Equal(t, string(text), "")
}

// TestRefused: if nothing listens on a port, the guest's connection is closed, and there is a note.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	said := make(chan string, 1)
	f, err := Open([]int{port}, func(line string) { said <- line })
	assert.NilError(t, err)
	defer f.Close()
	_, err = io.ReadAll(connection(t, f.Rules(os.Args[0])[0]))
	assert.NilError(t, err)
	line := <-said
	assert.Check(t, is.Contains(line, fmt.Sprintf("the guest asked for port %d of this machine", port)))
	assert.Check(t, is.Contains(line, "connection refused"))
}

func TestOpenRefusesPorts(t *testing.T) {
	for want, ports := range map[string][]int{
		"port 0: a TCP port is a number from 1 to 65535":     {80, 0},
		"port 65536: a TCP port is a number from 1 to 65535": {65536},
		"port 80 is named twice":                             {80, 443, 80},
	} {
		_, err := Open(ports, nil)
		assert.Error(t, err, want)
	}
}
