package target

import (
	"errors"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// probeInsns is "return 0".
var probeInsns = []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}

const socketFilter = 1 // BPF_PROG_TYPE_SOCKET_FILTER

// hasCookie reports whether kprobes have the helper bpf_get_attach_cookie (174, 5.15).
func (t *Target) hasCookie() (bool, error) {
	const kprobe, getAttachCookie = 2, 174
	insns := append([]byte{0x85, 0, 0, 0, getAttachCookie, 0, 0, 0}, 0x95, 0, 0, 0, 0, 0, 0, 0)
	a := bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	a.U32(0, kprobe)
	a.U32(4, 2)
	a.Ptr(bpfsys.ProgLoadInsns, insns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	fd, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return false, unknown("PROG_LOAD with helper bpf_get_attach_cookie", err)
	}
	bpfsys.Close(fd)
	return true, nil
}

// unknown is the error of a probe that could not tell, nil if this one is an answer.
func unknown(what string, err error) error {
	if err = probed(what, err); errors.Is(err, ErrUnknown) {
		return err
	}
	return nil
}

// has asks the kernel once. A probe that could not tell is asked again the next time.
func (t *Target) has(answer **bool, probe func() (bool, error)) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *answer == nil {
		found, err := probe()
		if err != nil {
			return false, err
		}
		*answer = &found
	}
	return **answer, nil
}

const traceUprobeMulti = 48 // BPF_TRACE_UPROBE_MULTI

// hasUprobeMulti reports whether the kernel has uprobe_multi links (6.6,
// 89ae89f53d20) which select processes and not threads by their pid (6.10 and
// stable kernels, 46ba0e49b642): what libbpf asks before it loads a program for
// USDT.
func (t *Target) hasUprobeMulti() (bool, error) { return t.has(&t.uprobeMulti, probeUprobeMulti) }

// probeUprobeMulti asks for a link to a place in "/", which is no file with
// code: EBADF where such links are known. A pid that cannot be is looked at
// before that, EINVAL, where it means a process.
func probeUprobeMulti() (bool, error) {
	a := bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	const kprobe = 2
	a.U32(0, kprobe)
	a.U32(4, uint32(len(probeInsns)/8))
	a.Ptr(bpfsys.ProgLoadInsns, probeInsns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.U32(bpfsys.ProgLoadAttachType, traceUprobeMulti)
	prog, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return false, unknown("PROG_LOAD for uprobe_multi links", err)
	}
	defer bpfsys.Close(prog)
	link := func(pid uint32) error {
		// struct { prog_fd, target_fd, attach_type, flags; uprobe_multi { path,
		// offsets, ref_ctr_offsets, cookies; cnt, flags, pid } } of union bpf_attr.
		a := bpfsys.NewAttr(64)
		a.U32(0, uint32(prog))
		a.U32(8, traceUprobeMulti)
		a.Ptr(16, []byte("/\x00"))
		a.Ptr(24, make([]byte, 8))
		a.U32(48, 1)
		a.U32(56, pid)
		fd, err := a.Call(bpfsys.LinkCreate)
		if err == nil {
			bpfsys.Close(fd)
		}
		return err
	}
	place, process := link(0), link(math.MaxUint32)
	if err := unknown("LINK_CREATE", errors.Join(place, process)); err != nil {
		return false, err
	}
	return errors.Is(place, unix.EBADF) && errors.Is(process, unix.EINVAL), nil
}

// hasFarValues reports whether instructions may refer to any place in the value
// of a map, as they have to in an arena, and not only to its first 512 MiB (7.0,
// 12a1fe6e12db). A place that is too far away is refused in either case, in
// different words; libbpf asks the same.
func (t *Target) hasFarValues() (bool, error) { return t.has(&t.farValues, probeFarValues) }

func probeFarValues() (bool, error) {
	const array = 2 // BPF_MAP_TYPE_ARRAY
	attr := bpfsys.MapCreateAttr{Type: array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	a := bpfsys.NewAttr(bpfsys.MapCreateSize(attr))
	bpfsys.PutMapCreate(a.Bytes, attr)
	m, err := a.Call(bpfsys.MapCreate)
	if err != nil {
		return false, unknown("MAP_CREATE", err)
	}
	defer bpfsys.Close(m)
	p := insn.Insns(make([]byte, 3*insn.Size)) // r1 = value of m + 1 GiB; exit
	copy(p, []byte{insn.LdImm64, insn.PseudoMapValue<<4 | 1})
	p.SetImm(0, int32(m))
	p.SetImm(1, 1<<30)
	p[2*insn.Size] = insn.Exit
	log := make([]byte, 1024)
	a = bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	a.U32(0, socketFilter)
	a.U32(4, uint32(p.Len()))
	a.Ptr(bpfsys.ProgLoadInsns, p)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.ProgLoadLog(1, log)
	fd, err := a.Call(bpfsys.ProgLoad)
	if err == nil {
		bpfsys.Close(fd)
		return false, nil
	}
	return strings.Contains(bpfsys.CString(log), "invalid access to map value pointer"), unknown("PROG_LOAD", err)
}
