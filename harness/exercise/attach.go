package exercise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

var native = binary.NativeEndian

// attachment is an attached program or a registered struct_ops map.
type attachment struct {
	fds []int // keep the program attached; detach closes them
	// own makes the program run instead of the trigger, and returns the result. Nil means the
	// trigger.
	own  func() string
	undo func() // further work to detach it, or nil
}

func (a *attachment) detach() {
	if a.undo != nil {
		a.undo()
	}
	for i := len(a.fds) - 1; i >= 0; i-- {
		_ = unix.Close(a.fds[i])
	}
}

// errNotAttached returns the reason why there is nothing to attach a program to. The text is the
// same for all engines.
func errNotAttached(format string, args ...any) error {
	return fmt.Errorf("not attached: "+format, args...)
}

// attach attaches a program as its section says.
func (g *Sandbox) attach(s *Subject, fd int) (*attachment, error) {
	switch s.Type {
	case uapi.ProgSocketFilter:
		return attachSocket(fd, unix.SO_ATTACH_BPF)
	case uapi.ProgSkReuseport:
		return attachSocket(fd, unix.SO_ATTACH_REUSEPORT_EBPF)
	case uapi.ProgKprobe:
		return g.attachProbe(s, fd)
	case uapi.ProgTracepoint:
		return attachTracepoint(s.Target, fd)
	case uapi.ProgPerfEvent:
		return attachPageFaults(fd)
	case uapi.ProgRawTracepoint, uapi.ProgRawTracepointWritable:
		return attachRawTracepoint(s.Target, fd)
	case uapi.ProgTracing:
		if s.Attach == uapi.AttachTraceIter {
			return attachIterator(fd)
		}
		return attachTracing(s, fd)
	case uapi.ProgLSM:
		if s.Attach == uapi.AttachLSMCgroup {
			return g.attachCgroup(s, fd)
		}
		return attachRawTracepoint("", fd)
	case uapi.ProgXDP:
		return link(fd, loopback, uapi.AttachXDP, unix.XDP_FLAGS_SKB_MODE) // 5.9
	case uapi.ProgSchedCls:
		return link(fd, loopback, max(s.Attach, uapi.AttachTcxIngress), 0) // 6.6
	case uapi.ProgFlowDissector:
		return linkTo("/proc/self/ns/net", fd, uapi.AttachFlowDissector)
	case uapi.ProgSkLookup:
		return linkTo("/proc/self/ns/net", fd, s.Attach)
	case uapi.ProgNetfilter: // IPv4 packets to this machine (6.4)
		return linkWith(fd, 0, s.Attach, 0, bpfsys.LinkNetfilter{Family: unix.NFPROTO_IPV4, Hook: unix.NF_INET_LOCAL_IN, Priority: 1})
	}
	return g.attachCgroup(s, fd)
}

// link creates a BPF link (5.7).
func link(fd, target int, attachType uapi.AttachType, flags uint32) (*attachment, error) {
	return linkWith(fd, target, attachType, flags, struct{}{})
}

// linkWith creates a link of a kind with additional fields.
func linkWith[More any](fd, target int, attachType uapi.AttachType, flags uint32, more More) (*attachment, error) {
	l, err := bpfsys.Call(bpfsys.LinkCreate, &bpfsys.LinkCreateAttr[More]{
		ProgFD: uint32(fd), TargetFD: uint32(target), AttachType: attachType, Flags: flags, More: more,
	})
	if err != nil {
		return nil, err
	}
	return &attachment{fds: []int{l}}, nil
}

// linkTo creates a link to a cgroup or a network namespace, which has this path.
func linkTo(path string, fd int, attachType uapi.AttachType) (*attachment, error) {
	target, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(target)
	return link(fd, target, attachType, 0)
}

// attachRawTracepoint attaches to the tracepoint with this name. Without a name it attaches to what
// the program was loaded for.
func attachRawTracepoint(name string, fd int) (*attachment, error) {
	var m bpfsys.Memory
	defer m.Release()
	a := bpfsys.RawTracepointAttr{ProgFD: uint32(fd)}
	if name != "" {
		a.Name = m.String(name)
	}
	l, err := bpfsys.Call(bpfsys.RawTracepointOpen, &a)
	if err != nil {
		return nil, err
	}
	return &attachment{fds: []int{l}}, nil
}

// attachTracing attaches to a function or to a typed tracepoint. If the function is one of the
// kernel's test functions, own runs BPF_PROG_TEST_RUN on the program, which calls them.
func attachTracing(s *Subject, fd int) (*attachment, error) {
	a, err := attachRawTracepoint("", fd)
	if err != nil || s.Attach == uapi.AttachTraceRawTp || !strings.HasPrefix(s.Target, "bpf_fentry_test") && !strings.HasPrefix(s.Target, "bpf_modify_return_test") {
		return a, err
	}
	a.own = func() string {
		ret, _, err := bpfsys.TestRun(fd, nil, nil)
		return fmt.Sprintf("test functions: %s, %d", outcome(err), ret)
	}
	return a, nil
}

// maxText is how much text is read from an iterator, in bytes.
const maxText = 256 << 10

// attachIterator creates an iterator, which own reads.
func attachIterator(fd int) (*attachment, error) {
	a, err := link(fd, 0, uapi.AttachTraceIter, 0)
	if err != nil {
		return nil, err
	}
	iter, err := bpfsys.Call(bpfsys.IterCreate, &bpfsys.IterCreateAttr{LinkFD: uint32(a.fds[0])})
	if err != nil {
		a.detach()
		return nil, fmt.Errorf("iterator: %w", err)
	}
	a.fds = append(a.fds, iter)
	a.own = func() string { return readText(iter) }
	return a, nil
}

// readText reads a text. It returns the text if it is short, otherwise its length and hash.
func readText(fd int) string {
	var text []byte
	buf := make([]byte, 16<<10)
	for len(text) < maxText {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return "read " + outcome(err)
		}
		if n == 0 {
			break
		}
		text = append(text, buf[:n]...)
	}
	if len(text) <= 256 {
		return string(text)
	}
	h := fnv.New64a()
	h.Write(text)
	return fmt.Sprintf("%d bytes, hash %x", len(text), h.Sum64())
}

func (g *Sandbox) attachCgroup(s *Subject, fd int) (*attachment, error) {
	if g.cgroup == "" {
		return nil, errNotAttached("no cgroup2")
	}
	return linkTo(g.cgroup, fd, s.Attach)
}

// attachSocket attaches to a socket, to which own sends a packet.
func attachSocket(fd, option int) (*attachment, error) {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|socketFlags, 0)
	if err != nil {
		return nil, err
	}
	a := &attachment{fds: []int{sock}}
	if option == unix.SO_ATTACH_REUSEPORT_EBPF {
		err = unix.SetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.SetsockoptInt(sock, unix.SOL_SOCKET, option, fd)
	}
	if err != nil {
		a.detach()
		return nil, err
	}
	a.own = func() string {
		return datagramTo(sock, unix.AF_INET, &unix.SockaddrInet4{Port: udpPort, Addr: loopback4})
	}
	return a, nil
}

// perf opens a perf event, sets its program and enables it.
func perf(attr *unix.PerfEventAttr, pid, cpu, fd int) (*attachment, error) {
	attr.Size = uint32(unsafe.Sizeof(*attr))
	attr.Bits |= unix.PerfBitDisabled
	event, err := unix.PerfEventOpen(attr, pid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	a := &attachment{fds: []int{event}}
	err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_SET_BPF, fd)
	if err == nil {
		err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if err != nil {
		a.detach()
		return nil, err
	}
	return a, nil
}

const tracingDir = "/sys/kernel/tracing/events"

// attachTracepoint attaches to a tracepoint such as "syscalls/sys_enter_openat".
func attachTracepoint(target string, fd int) (*attachment, error) {
	id, err := number(filepath.Join(tracingDir, filepath.Clean("/"+target), "id"))
	if err != nil {
		return nil, err
	}
	return perf(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Sample: 1}, -1, 0, fd)
}

// attachPageFaults attaches to the page faults of this thread.
func attachPageFaults(fd int) (*attachment, error) {
	return perf(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_PAGE_FAULTS, Sample: 1,
	}, 0, -1, fd)
}

// number reads a number from a file.
func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// reached are kernel functions that the trigger calls. Patterns of kprobe.multi are matched against
// them only, because reading the list of all functions takes seconds.
var reached = []string{"do_sys_openat2", "do_nanosleep", "tcp_connect", "udp_sendmsg", "do_mmap"}

// attachProbe attaches a kprobe or uprobe. Uprobes go to the tiny program, because the guest does
// not have the program that the section names.
func (g *Sandbox) attachProbe(s *Subject, fd int) (*attachment, error) {
	kind, _, _ := strings.Cut(strings.TrimSuffix(s.Pattern, "+"), ".")
	isReturn := strings.Contains(kind, "ret")
	switch {
	case s.Attach == uapi.AttachTraceKprobeMulti || s.Attach == uapi.AttachTraceKprobeSession:
		return attachKprobes(s, isReturn, fd)
	case s.Attach == uapi.AttachTraceUprobeMulti || s.Attach == uapi.AttachTraceUprobeSession:
		return g.attachUprobes(s, isReturn, fd)
	case strings.HasPrefix(kind, "u"):
		return probe("uprobe", isReturn, g.tiny, tinyFunction(), fd)
	}
	name, offset, _ := strings.Cut(s.Target, "+")
	var off uint64
	if offset != "" {
		var err error
		if off, err = strconv.ParseUint(offset, 0, 64); err != nil {
			return nil, errNotAttached("offset %s", offset)
		}
	}
	return probe("kprobe", isReturn, name, off, fd)
}

// probe opens the perf event of a kprobe or uprobe (4.17).
func probe(kind string, isReturn bool, target string, offset uint64, fd int) (*attachment, error) {
	dir := "/sys/bus/event_source/devices/" + kind
	pmu, err := number(dir + "/type")
	if err != nil {
		return nil, err
	}
	attr := &unix.PerfEventAttr{Type: uint32(pmu), Ext2: offset}
	if isReturn {
		attr.Config = 1 // bit 0, as in format/retprobe
	}
	var m bpfsys.Memory
	defer m.Release()
	attr.Ext1 = m.String(target)
	return perf(attr, -1, 0, fd)
}

// attachKprobes attaches to the functions among reached that match the pattern (5.18).
func attachKprobes(s *Subject, isReturn bool, fd int) (*attachment, error) {
	var m bpfsys.Memory
	defer m.Release()
	var names []byte
	for _, name := range reached {
		if ok, err := path.Match(s.Target, name); err == nil && ok {
			names = native.AppendUint64(names, m.String(name))
		}
	}
	if len(names) == 0 {
		return nil, errNotAttached("the trigger calls no function %s", s.Target)
	}
	more := bpfsys.LinkKprobes{Count: uint32(len(names) / 8), Names: m.At(names)}
	if isReturn {
		more.Flags = unix.BPF_F_KPROBE_MULTI_RETURN
	}
	return linkWith(fd, 0, s.Attach, 0, more)
}

// attachUprobes attaches to the function of the tiny program (6.6).
func (g *Sandbox) attachUprobes(s *Subject, isReturn bool, fd int) (*attachment, error) {
	var m bpfsys.Memory
	defer m.Release()
	more := bpfsys.LinkUprobes{Path: m.String(g.tiny), Offsets: m.At(native.AppendUint64(nil, tinyFunction())), Count: 1}
	if isReturn {
		more.Flags = unix.BPF_F_UPROBE_MULTI_RETURN
	}
	return linkWith(fd, 0, s.Attach, 0, more)
}
